"""A flash curve in words: a table of rates, and what it settles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flashneuron.profile.flash_curve import CurvePoint, FlashCurve, ReadTuning
from flashneuron.report.summary import where
from flashneuron.report.table import text_table
from flashneuron.units import format_bytes


def curve_text(curve: FlashCurve, tunings: Mapping[int, ReadTuning]) -> str:
    """`tunings` by size of a record."""
    place = where(curve.conditions, str(curve.conditions.get("device")))
    blocks = [
        f"{place}: MB/s of scattered reads of a {format_bytes(curve.file_bytes)} file, by size and threads",
        rates_table(curve.points),
        *_kinds(curve),
        *_hot(curve),
        f"DRAM read: {curve.dram_bytes_per_s / 1e9:.1f} GB/s with {curve.dram_threads} threads",
    ]
    if not curve.of_flash:
        why = curve.direct_io_why or "the kernel counted fewer bytes from storage than were read"
        blocks.append(f"warning: this is no flash curve and settles nothing: {why}")
    if tunings:
        chosen = [
            (format_bytes(size), str(t.io_threads), format_bytes(t.read_gap), format_bytes(t.max_read))
            for size, t in tunings.items()
        ]
        blocks.append(text_table(("record", "io_threads", "read_gap", "max_read"), chosen))
    return "\n\n".join(blocks)


def rates_table(points: Sequence[CurvePoint]) -> str:
    """MB/s by size and threads."""
    found = {(point.read_bytes, point.threads): point for point in points}
    threads = sorted({point.threads for point in points})
    rows = [
        (
            format_bytes(size),
            *(f"{found[size, t].bytes_per_s / 1e6:.0f}" if (size, t) in found else "–" for t in threads),
        )
        for size in sorted({point.read_bytes for point in points})
    ]
    return text_table(("read", *map(str, threads)), rows)


def _kinds(curve: FlashCurve) -> Iterator[str]:
    for number, kind in enumerate(curve.core_kinds):
        if kind.measured is None:
            continue
        cores = f"cores {', '.join(map(str, kind.cpus))} (speed {kind.speed})"
        if kind.measured:
            yield f"with the workers on {cores}:"
            yield rates_table([point for point in curve.kind_points if point.core_kind == number])
        else:
            yield f"{cores}: not measured, the system does not let a process choose them"


def _hot(curve: FlashCurve) -> Iterator[str]:
    if curve.hot_points:
        yield "hot: of what lies in the page cache"
        yield rates_table(curve.hot_points)
