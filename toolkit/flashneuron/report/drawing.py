"""How plots are drawn: inline SVG whose colours are the page's CSS variables, so one picture serves light and dark.

Matplotlib draws with stand-in colours, one for each variable, which are then replaced in the SVG's text. Words stay
text in the page's own font.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from flashneuron.report.metrics import PARTS
from flashneuron.units import format_bytes

SERIES = 6  # colours for lines; more lines than that share them
ROLES = ("process", "attention", "head", "predictor", "kv", "staging", "neurons")
_VARIABLES = ["ink", "muted", "grid", "paper", "card", "good", "bad", *(f"s{i}" for i in range(SERIES))]
_VARIABLES += [f"part-{name}" for name in PARTS] + [f"role-{name}" for name in (*ROLES, "more")]
COLOURS = {name: f"#0102{number + 16:02x}" for number, name in enumerate(_VARIABLES)}
WIDTH_IN = 5.0
LABEL_WIDTH = 26  # characters
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "flashneuron",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.8,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "legend.frameon": False,
}  # fmt: skip


def svg(name: str, draw: Any, height_in: float) -> str:
    """The drawing as an <svg> element that scales with its column; ids are unique to `name`."""
    out = io.StringIO()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1, flags=re.DOTALL)
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font-family:[^;\"]*;?|(font: [^;\"]*px) [^;\"]*", r"\1", text)
    for variable, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{variable})")
    return text.strip()


def stacked(axes: Any, labels: Sequence[str], stacks: Sequence[tuple[str, Sequence[float]]], what: str) -> None:
    """One bar a label, of (variable, its values) after each other; `what` the labels are."""
    rows, left = range(len(labels)), [0.0] * len(labels)
    for variable, values in stacks:
        axes.barh(rows, values, left=left, height=0.62, color=COLOURS[variable])
        left = [start + value for start, value in zip(left, values, strict=True)]
    label_rows(axes, labels, what)
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")


def label_rows(axes: Any, labels: Sequence[str], what: str) -> None:
    """The y axis as a list, the first on top; long labels on several lines."""
    axes.set_yticks(range(len(labels)), [wrapped(label) for label in labels], color=COLOURS["ink"])
    axes.set_ylabel(what)
    axes.set_ylim(len(labels) - 0.5, -0.5)


def wrapped(label: str) -> str:
    return textwrap.fill(label, LABEL_WIDTH)


def rows_height_in(labels: Sequence[str], around: float = 0.7) -> float:
    """Of a plot with one row a label, and `around` for its axis."""
    rows = sum(max(0.42, 0.1 + 0.19 * (1 + wrapped(label).count("\n"))) for label in labels)
    return around + max(0.9, rows)  # room for the axis' title beside few rows


def series(number: int) -> str:
    return COLOURS[series_variable(number)]


def series_variable(number: int) -> str:
    return f"s{number % SERIES}"


def byte_ticks(axis: Any) -> None:
    """Ticks at whole powers of two, at most six of them."""
    top = max(1.0, axis.get_view_interval()[1])
    axis.set_major_locator(MultipleLocator(2 ** math.ceil(math.log2(top / 5))))
    axis.set_major_formatter(lambda value, _: short_bytes(value))


def short_bytes(size: float) -> str:
    """12 MiB, not 12.0 MiB."""
    number, unit = format_bytes(size).split(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}" if size else "0"
