"""Predicted against measured latency. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from flashneuron.report.metrics import Point


def error(point: Point) -> float | None:
    """Of the predicted time of a token, as a share of the measured median; None where nothing was predicted."""
    if point.predicted is None:
        return None
    return point.predicted.wall_us / point.decode.latency_us.median - 1


def prediction_line(points: Sequence[Point]) -> str | None:
    """How far off the predictions were, in a sentence; None where nothing was predicted."""
    errors = [abs(found) for point in points if (found := error(point)) is not None]
    if not errors:
        return None
    bases = " and ".join(dict.fromkeys(point.predicted.basis for point in points if point.predicted))
    return (
        f"Predicted before the runs, by the package's trace, the device's flash curve and {bases}: "
        f"median error {median(errors):.0%}, largest {max(errors):.0%}, of {len(errors)} points."
    )
