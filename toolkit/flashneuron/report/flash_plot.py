"""The flash curve as a picture: bandwidth against the size of a read, and how long the reads of runs were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import FixedLocator, NullLocator

from flashneuron.profile.flash_curve import FlashCurve
from flashneuron.report.drawing import COLOURS, SERIES, series, short_bytes, svg

_MOST_LINES, _MOST_TICKS = 4, 8


def shown_threads(curve: FlashCurve, used: Sequence[int]) -> list[int]:
    """Few of the thread counts: the fewest, the most, those nearest to what runs used, then what lies between."""
    there = sorted({point.threads for point in curve.points})
    nearest = [min(there, key=lambda threads: abs(threads - wanted)) for wanted in used]
    between = [there[len(there) * part // 4] for part in (1, 2, 3)]
    return sorted(list(dict.fromkeys([there[0], there[-1], *nearest, *between]))[:_MOST_LINES])


def flash_plot(name: str, curve: FlashCurve, threads: Sequence[int], read_sizes: Sequence[float]) -> str:
    """One line for each of `threads`; upright lines at `read_sizes`, the mean reads of runs in bytes."""
    sizes = sorted({point.read_bytes for point in curve.points})

    def draw(axes: Any) -> None:
        for number, count in enumerate(threads):
            line = sorted((p for p in curve.points if p.threads == count), key=lambda p: p.read_bytes)
            axes.plot(
                [p.read_bytes for p in line], [p.bytes_per_s / 1e6 for p in line],
                color=series(number), lw=2, marker="o", ms=4,
            )  # fmt: skip
        for size in read_sizes:
            axes.axvline(size, color=COLOURS["ink"], lw=1, ls=(0, (4, 3)), alpha=0.75)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sizes[:: -(-len(sizes) // _MOST_TICKS)]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: short_bytes(value))
        axes.set_xlabel("size of a read, bytes (logarithmic)")
        axes.set_ylabel("bandwidth, MB/s")
        axes.set_ylim(bottom=0)

    assert len(threads) <= SERIES
    return svg(name, draw, 3.3)
