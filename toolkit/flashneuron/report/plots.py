"""Plots as inline SVG whose colours are the page's CSS variables, so that one picture serves light and dark.

Matplotlib draws with stand-in colours, one for each variable, which are then replaced in the SVG's text. Words stay
text in the page's own font.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from flashneuron.report.metrics import PARTS, Point
from flashneuron.units import format_bytes

SERIES = 6  # colours for lines; more lines than that share them
ROLES = ("process", "attention", "head", "predictor", "kv", "staging", "neurons")
_VARIABLES = ["ink", "muted", "grid", "paper", *(f"s{i}" for i in range(SERIES))]
_VARIABLES += [f"part-{name}" for name in PARTS] + [f"role-{name}" for name in (*ROLES, "more")]
_COLOURS = {name: f"#0102{number + 16:02x}" for number, name in enumerate(_VARIABLES)}
_WIDTH_IN = 5.4
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "flashneuron",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": _COLOURS["muted"],
    "axes.labelcolor": _COLOURS["muted"],
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _COLOURS["grid"],
    "grid.linewidth": 0.8,
    "text.color": _COLOURS["ink"],
    "xtick.color": _COLOURS["muted"],
    "ytick.color": _COLOURS["muted"],
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "legend.frameon": False,
}  # fmt: skip


def latency_plot(lines: Mapping[str, Sequence[Point]]) -> str:
    """Median milliseconds a token against the budget; the band is the quartiles, dots are single runs."""

    def draw(axes: Any) -> None:
        for number, line in enumerate(lines.values()):
            ram, colour = [point.ram_bytes for point in line], _series(number)
            spread = [point.decode.latency_us for point in line]
            axes.fill_between(
                ram, _ms([s.low for s in spread]), _ms([s.high for s in spread]), color=colour, alpha=0.16, lw=0
            )
            axes.plot(ram, _ms([s.median for s in spread]), color=colour, lw=2, marker="o", ms=5)
            for point in line:
                axes.plot([point.ram_bytes] * len(point.run_medians_us), _ms(point.run_medians_us), "o", ms=2.2,
                          color=_COLOURS["paper"], mec=colour, mew=0.8)  # fmt: skip
        _budget_axis(axes, lines)
        axes.set_ylabel("milliseconds per token")
        axes.set_ylim(bottom=0)

    return _svg("latency", draw, 3.3)


def bytes_plot(lines: Mapping[str, Sequence[Point]]) -> str:
    """Mean bytes read per token against the budget; the band is the quartiles over tokens."""

    def draw(axes: Any) -> None:
        for number, line in enumerate(lines.values()):
            ram, colour = [point.ram_bytes for point in line], _series(number)
            spread = [point.decode.bytes_spread for point in line]
            axes.fill_between(ram, [s.low for s in spread], [s.high for s in spread], color=colour, alpha=0.16, lw=0)
            axes.plot(ram, [point.decode.bytes_read for point in line], color=colour, lw=2, marker="o", ms=5)
        _budget_axis(axes, lines)
        axes.set_ylabel("read from flash per token")
        axes.set_ylim(bottom=0)
        _byte_ticks(axes.yaxis)

    return _svg("bytes", draw, 3.3)


def breakdown_plot(name: str, bars: Mapping[str, Point]) -> str:
    """Mean time of a token, stacked by part, one bar a point."""
    stacks = [(f"part-{part}", [p.decode.parts_us[part] / 1e3 for p in bars.values()]) for part in PARTS]

    def draw(axes: Any) -> None:
        _stacked(axes, list(bars), stacks)
        axes.set_xlabel("milliseconds per token (mean)")

    return _svg(name, draw, 0.42 * len(bars) + 0.7)


def memory_plot(bars: Mapping[str, Point]) -> str:
    """The budget's roles, stacked; a line at the budget, a diamond at the measured peak RSS."""
    roles = list(dict.fromkeys(role.role for point in bars.values() for role in point.runs[0].ready.budget.roles))
    sizes = [{role.role: role.bytes for role in point.runs[0].ready.budget.roles} for point in bars.values()]
    stacks = [(role_variable(role), [size.get(role, 0) for size in sizes]) for role in roles]

    def draw(axes: Any) -> None:
        _stacked(axes, list(bars), stacks)
        for row, point in enumerate(bars.values()):
            axes.plot(
                [point.ram_bytes] * 2, [row - 0.42, row + 0.42], color=_COLOURS["ink"], lw=1.6, solid_capstyle="butt"
            )
            axes.plot([point.peak_rss_bytes], [row], "D", ms=6, color=_COLOURS["paper"], mec=_COLOURS["ink"], mew=1.3)
        axes.set_xlabel("DRAM")
        _byte_ticks(axes.xaxis)

    return _svg("memory", draw, 0.42 * len(bars) + 0.7)


def hits_plot(bars: Mapping[str, Point]) -> str:
    """Share of a layer's neurons that were in DRAM, one line a point."""

    def draw(axes: Any) -> None:
        for number, point in enumerate(bars.values()):
            rates = [100 * rate for rate in point.layer_hit_rates]
            axes.plot(range(len(rates)), rates, color=_series(number), lw=1.8, marker="o", ms=3.5, clip_on=False)
        axes.set_ylim(0, 100)
        axes.set_xlabel("layer")
        axes.set_ylabel("neurons found in DRAM, %")
        axes.xaxis.get_major_locator().set_params(integer=True)

    return _svg("hits", draw, 3.0)


def amount_bars(name: str, label: str, bars: Mapping[str, tuple[float, str]]) -> str:
    """Horizontal bars with their values written beside them."""

    def draw(axes: Any) -> None:
        _stacked(axes, list(bars), [("s0", [value for value, _ in bars.values()])])
        for row, (value, text) in enumerate(bars.values()):
            axes.annotate(text, (value, row), xytext=(5, 0), textcoords="offset points", va="center")
        axes.margins(x=0.18)
        axes.set_xlabel(label)
        axes.set_xticks([])
        axes.grid(False)

    return _svg(name, draw, 0.42 * len(bars) + 0.5)


def short_bytes(size: float) -> str:
    """12 MiB, not 12.0 MiB."""
    number, unit = format_bytes(size).split(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}" if size else "0"


def role_variable(role: str) -> str:
    return f"role-{role}" if role in ROLES else "role-more"


def _stacked(axes: Any, labels: Sequence[str], stacks: Sequence[tuple[str, Sequence[float]]]) -> None:
    rows, left = range(len(labels)), [0.0] * len(labels)
    for variable, values in stacks:
        axes.barh(rows, values, left=left, height=0.62, color=_COLOURS[variable])
        left = [start + value for start, value in zip(left, values, strict=True)]
    axes.set_yticks(rows, labels, color=_COLOURS["ink"])
    axes.invert_yaxis()
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")


def _budget_axis(axes: Any, lines: Mapping[str, Sequence[Point]]) -> None:
    """RAM on x, every measured budget a tick while they are few; a dotted line where everything is resident."""
    ticks = sorted({point.ram_bytes for line in lines.values() for point in line})
    if len(ticks) <= 6:
        axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(lambda value, _: short_bytes(value))
    axes.set_xlabel("RAM budget")
    ends = {point.runs[0].ready.budget.all_resident_bytes for line in lines.values() for point in line}
    if len(ends) == 1:
        axes.axvline(ends.pop(), color=_COLOURS["muted"], lw=1, ls=(0, (1, 3)))


def _byte_ticks(axis: Any) -> None:
    """Ticks at whole powers of two, at most six of them."""
    top = max(1.0, axis.get_view_interval()[1])
    axis.set_major_locator(MultipleLocator(2 ** math.ceil(math.log2(top / 5))))
    axis.set_major_formatter(lambda value, _: short_bytes(value))


def _series(number: int) -> str:
    return _COLOURS[f"s{number % SERIES}"]


def _ms(values: Sequence[float]) -> list[float]:
    return [value / 1e3 for value in values]


def _svg(name: str, draw: Any, height_in: float) -> str:
    """The drawing as an <svg> element that scales with its column; ids are unique to `name`."""
    out = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font-family:[^;\"]*;?|(font: [^;\"]*px) [^;\"]*", r"\1", svg)
    for variable, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg.strip()
