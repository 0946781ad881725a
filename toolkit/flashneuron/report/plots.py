"""The plots of runs: latency, bytes, time and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flashneuron.report.drawing import (
    COLOURS,
    ROLES,
    byte_ticks,
    rows_height_in,
    series,
    short_bytes,
    stacked,
    svg,
)
from flashneuron.report.metrics import PARTS, Point


def latency_plot(lines: Mapping[str, Sequence[Point]]) -> str:
    """Median milliseconds a token against the budget; the band is the quartiles, dots are single runs."""

    def draw(axes: Any) -> None:
        for number, line in enumerate(lines.values()):
            ram, colour = [point.ram_bytes for point in line], series(number)
            spread = [point.decode.latency_us for point in line]
            axes.fill_between(
                ram, _ms([s.low for s in spread]), _ms([s.high for s in spread]), color=colour, alpha=0.16, lw=0
            )
            axes.plot(ram, _ms([s.median for s in spread]), color=colour, lw=2, marker="o", ms=5)
            told = [(point.ram_bytes, point.predicted.wall_us) for point in line if point.predicted]
            axes.plot([ram for ram, _ in told], _ms([us for _, us in told]), color=colour, lw=1.2, ls="--", marker="x")
            for point in line:
                axes.plot([point.ram_bytes] * len(point.run_medians_us), _ms(point.run_medians_us), "o", ms=2.2,
                          color=COLOURS["paper"], mec=colour, mew=0.8)  # fmt: skip
        _budget_axis(axes, lines)
        axes.set_ylabel("time per token, ms")
        axes.set_ylim(bottom=0)

    return svg("latency", draw, 3.3)


def bytes_plot(lines: Mapping[str, Sequence[Point]]) -> str:
    """Mean bytes read per token against the budget; the band is the quartiles over tokens."""

    def draw(axes: Any) -> None:
        for number, line in enumerate(lines.values()):
            ram, colour = [point.ram_bytes for point in line], series(number)
            spread = [point.decode.bytes_spread for point in line]
            axes.fill_between(ram, [s.low for s in spread], [s.high for s in spread], color=colour, alpha=0.16, lw=0)
            axes.plot(ram, [point.decode.bytes_read for point in line], color=colour, lw=2, marker="o", ms=5)
        _budget_axis(axes, lines)
        axes.set_ylabel("read from flash per token, bytes")
        axes.set_ylim(bottom=0)
        byte_ticks(axes.yaxis)

    return svg("bytes", draw, 3.3)


def breakdown_plot(name: str, what: str, bars: Mapping[str, Point]) -> str:
    """Mean time of a token, stacked by part, one bar a point; `what` the bars' labels are."""
    stacks = [(f"part-{part}", [p.decode.parts_us[part] / 1e3 for p in bars.values()]) for part in PARTS]

    def draw(axes: Any) -> None:
        stacked(axes, list(bars), stacks, what)
        axes.set_xlabel("mean time per token, ms")

    return svg(name, draw, rows_height_in(list(bars)))


def memory_plot(what: str, bars: Mapping[str, Point]) -> str:
    """The budget's roles, stacked; a line at the budget, a diamond at the measured peak RSS."""
    roles = list(dict.fromkeys(role.role for point in bars.values() for role in point.runs[0].ready.budget.roles))
    sizes = [{role.role: role.bytes for role in point.runs[0].ready.budget.roles} for point in bars.values()]
    stacks = [(role_variable(role), [size.get(role, 0) for size in sizes]) for role in roles]

    def draw(axes: Any) -> None:
        stacked(axes, list(bars), stacks, what)
        for row, point in enumerate(bars.values()):
            axes.plot(
                [point.ram_bytes] * 2, [row - 0.42, row + 0.42], color=COLOURS["ink"], lw=1.6, solid_capstyle="butt"
            )
            axes.plot([point.peak_rss_bytes], [row], "D", ms=6, color=COLOURS["paper"], mec=COLOURS["ink"], mew=1.3)
        axes.set_xlabel("DRAM, bytes")
        byte_ticks(axes.xaxis)

    return svg("memory", draw, rows_height_in(list(bars)))


def hits_plot(bars: Mapping[str, Point]) -> str:
    """Share of a layer's neurons that were in DRAM, one line a point."""

    def draw(axes: Any) -> None:
        for number, point in enumerate(bars.values()):
            rates = [100 * rate for rate in point.layer_hit_rates]
            axes.plot(range(len(rates)), rates, color=series(number), lw=1.8, marker="o", ms=3.5, clip_on=False)
        axes.set_ylim(0, 100)
        axes.set_xlabel("layer (number, from 0)")
        axes.set_ylabel("neurons found in DRAM, %")
        axes.xaxis.get_major_locator().set_params(integer=True)

    return svg("hits", draw, 3.0)


def amount_bars(name: str, what: str, label: str, bars: Mapping[str, tuple[float, str]]) -> str:
    """Horizontal bars with their values written beside them."""

    def draw(axes: Any) -> None:
        stacked(axes, list(bars), [("s0", [value for value, _ in bars.values()])], what)
        for row, (value, text) in enumerate(bars.values()):
            axes.annotate(text, (value, row), xytext=(5, 0), textcoords="offset points", va="center")
        axes.margins(x=0.18)
        axes.set_xlabel(label)
        axes.set_xticks([])
        axes.grid(False)

    return svg(name, draw, rows_height_in(list(bars), 0.5))


def role_variable(role: str) -> str:
    return f"role-{role}" if role in ROLES else "role-more"


def _budget_axis(axes: Any, lines: Mapping[str, Sequence[Point]]) -> None:
    """RAM on x, every measured budget a tick while they are few; a dotted line where everything is resident."""
    ticks = sorted({point.ram_bytes for line in lines.values() for point in line})
    if len(ticks) <= 6:
        axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(lambda value, _: short_bytes(value))
    axes.set_xlabel("RAM budget, bytes")
    ends = {point.runs[0].ready.budget.all_resident_bytes for line in lines.values() for point in line}
    if len(ends) == 1:
        axes.axvline(ends.pop(), color=COLOURS["muted"], lw=1, ls=(0, (1, 3)))


def _ms(values: Sequence[float]) -> list[float]:
    return [value / 1e3 for value in values]
