"""A run whose budget changed, token by token: time, and memory under the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flashneuron.profile.run_file import Run
from flashneuron.report.drawing import COLOURS, byte_ticks, series, svg

_HEIGHT_IN = 3.0


def token_plot(name: str, run: Run, times_us: Mapping[int, int]) -> str:
    """Milliseconds of each decoded token, by its index; upright lines where the budget changed."""

    def draw(axes: Any) -> None:
        axes.plot(list(times_us), [us / 1e3 for us in times_us.values()], color=series(0), lw=1.6)
        _token_axis(axes, run)
        axes.set_ylabel("time per token, ms")
        axes.set_ylim(bottom=0)

    return svg(name, draw, _HEIGHT_IN)


def budget_plot(name: str, run: Run) -> str:
    """The budget as steps, the process's RSS after each token as a line, both in bytes."""
    last = len(run.tokens)
    steps = [(0, run.ram_bytes), *((change.index, change.ram_bytes) for change in run.budget_changes)]
    steps.append((last, steps[-1][1]))
    told = [(token.index, token.rss_bytes) for token in run.tokens if token.rss_bytes is not None]

    def draw(axes: Any) -> None:
        axes.step([index for index, _ in steps], [ram for _, ram in steps], where="post", color=COLOURS["ink"], lw=1.8)
        axes.plot([index for index, _ in told], [rss for _, rss in told], color=series(0), lw=1.6)
        _token_axis(axes, run)
        axes.set_ylabel("DRAM, bytes")
        axes.set_ylim(bottom=0)
        byte_ticks(axes.yaxis)

    return svg(name, draw, _HEIGHT_IN)


def _token_axis(axes: Any, run: Run) -> None:
    for change in run.budget_changes:
        axes.axvline(change.index, color=COLOURS["muted"], lw=1, ls=(0, (1, 3)))
    axes.set_xlim(0, len(run.tokens))
    axes.set_xlabel("token (number, from 0)")
    axes.xaxis.get_major_locator().set_params(integer=True)
