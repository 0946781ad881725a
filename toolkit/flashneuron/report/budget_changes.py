"""Budgets that changed while tokens were generated: what each change took, and what the tokens after it did.

The time of a token here has in it what a change right before it took, since whoever waits for the token waits for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from flashneuron.profile.run_file import BudgetChange, Run
from flashneuron.report.budget_plots import budget_plot, token_plot
from flashneuron.report.metrics import Point, spread
from flashneuron.report.point_tables import Table, milliseconds
from flashneuron.units import format_bytes

_MOST_FIGURES = 4  # runs that are drawn
_NOTE = (
    "RSS: of the whole process, two tokens after the change. Longest token: of those up to the next change, with the "
    "time that the change took; × median: over the median of all decoded tokens of the run."
)


@dataclass(frozen=True)
class Effect:
    """One change in one run."""

    index: int
    ram_bytes: int
    neurons_bytes: int
    took_us: int
    rss_bytes: int  # two tokens later, or as late as the run goes
    longest_us: int
    times_median: float


def token_times_us(run: Run) -> dict[int, int]:
    """By token; decoded ones alone."""
    took = {change.index: change.freed_us for change in run.budget_changes}
    return {token.index: token.wall_us + took.get(token.index, 0) for token in run.decoded}


def effects(run: Run) -> list[Effect]:
    times = token_times_us(run)
    rss = {token.index: token.rss_bytes for token in run.tokens if token.rss_bytes is not None}
    median = spread(times.values()).median if times else 0.0
    starts = [change.index for change in run.budget_changes]
    spans = zip(run.budget_changes, [*starts[1:], len(run.tokens)], strict=False)  # without changes no span
    return [_effect(change, end, times, rss, median) for change, end in spans]


def changes_json(run: Run) -> list[dict[str, Any]]:
    return [asdict(effect) for effect in effects(run)]


def changes_table(points: Sequence[Point]) -> Table | None:
    """One row a change of each run; None where no budget changed."""
    rows = [row for point in points for number, run in enumerate(point.runs, 1) for row in _rows(run, number)]
    headings = (
        "run", "before token", "budget", "for neurons", "took, ms", "RSS then", "longest token, ms", "× median",
    )  # fmt: skip
    return Table(headings, rows, _NOTE) if rows else None


def changes_section(points: Sequence[Point]) -> dict[str, Any] | None:
    """For the template: the first run of each point whose budget changed, and all changes as a table."""
    table = changes_table(points)
    if table is None:
        return None
    shown = [run for point in points if (run := next((r for r in point.runs if r.budget_changes), None))]
    figures = [
        {
            "title": _name(run, 1) if len(shown) > 1 else "",
            "tokens": Markup(token_plot(f"tokens-{number}", run, token_times_us(run))),
            "budget": Markup(budget_plot(f"budget-{number}", run)),
        }
        for number, run in enumerate(shown[:_MOST_FIGURES])
    ]
    return {"figures": figures, "left_out": len(shown) - len(figures), "table": table}


def _effect(change: BudgetChange, end: int, times: dict[int, int], rss: dict[int, int], median: float) -> Effect:
    later = [index for index in rss if change.index <= index <= change.index + 1]
    longest = max((us for index, us in times.items() if change.index <= index < end), default=change.freed_us)
    return Effect(
        index=change.index,
        ram_bytes=change.ram_bytes,
        neurons_bytes=change.neurons_bytes,
        took_us=change.freed_us,
        rss_bytes=rss[max(later)] if later else change.rss_bytes,
        longest_us=longest,
        times_median=longest / median if median else 0.0,
    )


def _rows(run: Run, number: int) -> list[tuple[str, ...]]:
    budgets = [run.ram_bytes, *(change.ram_bytes for change in run.budget_changes)]
    return [
        (
            _name(run, number),
            str(effect.index),
            f"{format_bytes(before)} → {format_bytes(after)}",
            format_bytes(effect.neurons_bytes),
            milliseconds(effect.took_us),
            format_bytes(effect.rss_bytes),
            milliseconds(effect.longest_us),
            f"{effect.times_median:.1f}",
        )
        for effect, (before, after) in zip(effects(run), pairwise(budgets), strict=True)
    ]


def _name(run: Run, number: int) -> str:
    followed = run.ready.settings.get("follow_memory")
    how = f"{format_bytes(int(followed))} kept free" if followed else "scheduled"
    return f"{format_bytes(run.ram_bytes)}, {how}, {number}"
