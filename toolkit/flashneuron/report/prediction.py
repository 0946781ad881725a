"""Predicted against measured latency, and what following the predictions would have cost. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from flashneuron.profile.plan import preferred
from flashneuron.report.metrics import Point


def error(point: Point) -> float | None:
    """Of the predicted time of a token, as a share of the measured mean, since a prediction is one; None where nothing
    was predicted.
    """
    if point.predicted is None:
        return None
    return point.predicted.wall_us * point.decode.tokens_per_s / 1e6 - 1


def prediction_line(points: Sequence[Point]) -> str | None:
    """How far off the predictions were, in a sentence; None where nothing was predicted."""
    errors = [abs(found) for point in points if (found := error(point)) is not None]
    if not errors:
        return None
    bases = " and ".join(dict.fromkeys(point.predicted.basis for point in points if point.predicted))
    return (
        f"Predicted before the runs, by the package's trace, the device's flash curve and {bases}: against the mean "
        f"time of a token the median error is {median(errors):.0%}, the largest {max(errors):.0%}, of "
        f"{len(errors)} points."
        f"{_choice_text(choices(points))}"
    )


@dataclass(frozen=True)
class Choice:
    """Of the points of one budget: the one with the least predicted time, and the one with the least measured."""

    recommended: Point
    best: Point

    @property
    def regret(self) -> float:
        """By how much the recommended one was slower, as a share."""
        return self.recommended.decode.latency_us.median / self.best.decode.latency_us.median - 1


def choices(points: Sequence[Point]) -> list[Choice]:
    """One a budget and package under which several settings were predicted and measured."""
    budgets: dict[tuple[str, int], list[tuple[float, Point]]] = {}
    for point in points:
        if point.predicted:
            key = (point.facts.get("package", ""), point.ram_bytes)
            budgets.setdefault(key, []).append((point.predicted.wall_us, point))
    several = [found for found in budgets.values() if len(found) > 1]
    return [Choice(_recommended(found), min((p for _, p in found), key=_measured_us)) for found in several]


def _recommended(found: Sequence[tuple[float, Point]]) -> Point:
    return found[preferred([(us, point.ram_bytes, point.facts.get("window")) for us, point in found])][1]


def _measured_us(point: Point) -> float:
    return point.decode.latency_us.median


def _choice_text(found: Sequence[Choice]) -> str:
    if not found:
        return ""
    worst = max(found, key=lambda each: each.regret)
    return (
        f" Of the settings measured under each budget the predictions chose one that was at most {worst.regret:.0%} "
        f"slower than the best ({len(found)} budgets)."
    )
