"""The flash curves of the devices that runs were measured on, as far as they were probed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from flashneuron.profile.flash_curve import FlashCurve, curve_path, find_curve
from flashneuron.profile.run_file import Run
from flashneuron.report.drawing import series_variable
from flashneuron.report.flash_plot import flash_plot, shown_threads
from flashneuron.report.metrics import Point
from flashneuron.report.page import when
from flashneuron.report.summary import where
from flashneuron.units import format_bytes


@dataclass(frozen=True)
class ProbedDevice:
    curve: FlashCurve
    points: Sequence[Point]  # what was measured on it


def probed_devices(points: Sequence[Point]) -> list[ProbedDevice]:
    """Devices of the points that have a curve. Raises InputError for a curve's file that is damaged."""
    found: dict[str, tuple[FlashCurve, list[Point]]] = {}
    for point in points:
        conditions = point.runs[0].conditions_before
        if curve := find_curve(conditions):
            found.setdefault(str(curve_path(conditions)), (curve, []))[1].append(point)
    return [ProbedDevice(*entry) for entry in found.values()]


def mean_read_sizes(points: Sequence[Point]) -> list[float]:
    """Of each point that read anything, in bytes, ascending."""
    return sorted(p.decode.bytes_read / p.decode.requests for p in points if p.decode.bytes_read)


def section(device: ProbedDevice, number: int) -> dict[str, Any]:
    """For the template."""
    curve, reads = device.curve, mean_read_sizes(device.points)
    threads = shown_threads(curve, _used_threads([run for point in device.points for run in point.runs]))
    return {
        "title": f"Flash curve: {where(curve.conditions, str(curve.conditions.get('device')))}",
        "caption": caption(curve, reads),
        "plot": Markup(flash_plot(f"flash-{number}", curve, threads, _ends(reads))),
        "threads": [(f"{t} thread{'s' if t > 1 else ''}", series_variable(n)) for n, t in enumerate(threads)],
    }


def caption(curve: FlashCurve, reads: Sequence[float]) -> str:
    """When and how it was measured, and what the upright lines are."""
    words = [
        f"Scattered reads of a {format_bytes(curve.file_bytes)} file, probed on {when(curve.measured)}, "
        "apart from the runs."
    ]
    if not curve.of_flash:
        words.append("Not all of them came from flash: this is the page cache's curve.")
    if reads:
        ends = [format_bytes(size) for size in _ends(reads)]
        words.append(f"Dashed: the mean read of these runs, {' to '.join(ends)}.")
    return " ".join(words)


def curve_json(device: ProbedDevice) -> dict[str, Any]:
    curve = device.curve
    return {
        "device": curve.conditions.get("device"),
        "measured": curve.measured,
        "of_flash": curve.of_flash,
        "emulated": bool(curve.conditions.get("emulated")),
        "points": [
            {"read_bytes": p.read_bytes, "threads": p.threads, "bytes_per_s": round(p.bytes_per_s)}
            for p in curve.points
        ],
        "mean_read_bytes": [round(size) for size in mean_read_sizes(device.points)],
    }


def _ends(sizes: Sequence[float]) -> list[float]:
    return list(dict.fromkeys((sizes[0], sizes[-1]))) if sizes else []


def _used_threads(runs: Sequence[Run]) -> list[int]:
    found = {run.ready.settings.get("io_threads") for run in runs}
    return sorted(int(value) for value in found if isinstance(value, int | str) and str(value).isdecimal())
