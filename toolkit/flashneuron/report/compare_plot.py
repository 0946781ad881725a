"""Ratios of a comparison as a picture: one row a point, an interval each, and a line where nothing changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from flashneuron.report.compare import Pair
from flashneuron.report.drawing import COLOURS, label_rows, rows_height_in, svg
from flashneuron.report.ratios import NOISE, Quantity

_GOOD, _BAD = ("faster", "less"), ("slower", "more")


def ratio_plot(quantity: Quantity, pairs: Sequence[Pair]) -> str:
    """B over A; the verdict is written beside each, so that no colour is needed to read it."""
    labels = [pair.label for pair in pairs]

    def draw(axes: Any) -> None:
        axes.axvline(1, color=COLOURS["muted"], lw=1.2)
        for row, pair in enumerate(pairs):
            found = pair.ratios[quantity.name]
            if found.ratio is None:
                axes.annotate("no ratio: A is 0", (1, row), xytext=(6, 0), textcoords="offset points", va="center")
                continue
            colour = COLOURS[verdict_variable(found.verdict)]
            right = found.ratio
            if found.low is not None and found.high is not None:
                axes.plot([found.low, found.high], [row, row], color=colour, lw=3, alpha=0.45, solid_capstyle="butt")
                right = found.high
            axes.plot([found.ratio], [row], "o", ms=6, color=colour, clip_on=False)
            text = f"{found.ratio:.2f}" + (f" {found.verdict}" if found.verdict != NOISE else "")
            axes.annotate(
                text, (max(right, found.ratio), row), xytext=(7, 0), textcoords="offset points", va="center",
                bbox={"fc": COLOURS["card"], "ec": "none", "pad": 1},
            )  # fmt: skip
        label_rows(axes, labels, "point")
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        axes.margins(x=0.3)
        axes.set_xlim(left=max(0.0, axes.get_xlim()[0]))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"{quantity.title}, B ÷ A (ratio; 1: unchanged)")

    return svg(f"ratio-{quantity.name}", draw, rows_height_in(labels))


def verdict_variable(verdict: str) -> str:
    return "good" if verdict in _GOOD else "bad" if verdict in _BAD else "muted"
