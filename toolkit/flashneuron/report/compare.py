"""Two sets of runs, point by point: which points both have, under which conditions, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flashneuron.errors import InputError
from flashneuron.profile.run_file import Run
from flashneuron.report.conditions import Difference, differences, in_one_line
from flashneuron.report.metrics import Point, differing, points
from flashneuron.report.ratios import LATENCY, LEAST_RUNS, QUANTITIES, Ratio, ratio_of
from flashneuron.units import format_bytes

_Base = tuple[str | None, int | None]  # ladder step, budget in bytes where it matters
_Key = tuple[_Base, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Side:
    name: str  # as it was asked for, for people
    runs: Sequence[Run]


@dataclass(frozen=True)
class Pair:
    """One thing under one budget, or one step of the ladder, on both sides."""

    label: str
    a: Point
    b: Point
    ratios: dict[str, Ratio]  # by names of QUANTITIES

    @property
    def verdict(self) -> str:
        """By latency."""
        return self.ratios[LATENCY.name].verdict

    @property
    def too_few_runs(self) -> bool:
        return min(len(self.a.runs), len(self.b.runs)) < LEAST_RUNS


@dataclass(frozen=True)
class Comparison:
    a: Side
    b: Side
    pairs: list[Pair]
    only_a: list[str]  # labels of points that the other side lacks
    only_b: list[str]
    differences: list[Difference]  # empty unless a comparison of unequal conditions was asked for


def compare(a: Side, b: Side, even_if_unequal: bool = False) -> Comparison:
    """InputError where no point is on both sides, or conditions differ and that was not asked for."""
    by_key_a, by_key_b = _keyed(a, b)
    labels = {key: _label(key) for key in (*by_key_a, *by_key_b)}
    common = [key for key in by_key_a if key in by_key_b]
    if not common:
        told = [
            f"{side.name} has {', '.join(labels[key] for key in kept)}" for side, kept in ((a, by_key_a), (b, by_key_b))
        ]
        raise InputError(f"no point is on both sides: {'; '.join(told)}; measure both at the same budgets and settings")
    matched = [(by_key_a[key], by_key_b[key]) for key in common]
    unequal = differences(matched)
    if unequal and not even_if_unequal:
        raise InputError(
            f"{a.name} and {b.name} differ in {in_one_line(unequal)}; measure both alike, or compare them as they "
            "are, marked as unequal: --even-if-unequal"
        )
    pairs = [Pair(labels[key], *pair, _ratios(*pair)) for key, pair in zip(common, matched, strict=True)]
    only_a, only_b = ([labels[key] for key in kept if key not in common] for kept in (by_key_a, by_key_b))
    return Comparison(a, b, pairs, only_a, only_b, unequal)


def _keyed(a: Side, b: Side) -> tuple[dict[_Key, Point], dict[_Key, Point]]:
    """Each side's points by what makes them the same point: step or budget, and the facts that vary at one of these
    within a side (what a grid was measured over). Other facts must be equal, which `differences` checks."""
    found = [points(side.runs) for side in (a, b)]
    for side, measured in zip((a, b), found, strict=True):
        if not measured:
            raise InputError(f"no run of {side.name} decoded a token; measure with --max-new-tokens 2 or more")
    several = any(len({p.runs[0].asked.get("ram") for p in side if p.ladder_step}) > 1 for side in found)
    bases = [[(_base(point, several), point) for point in side] for side in found]
    axes = list(dict.fromkeys(name for side in bases for name in _axes(side)))

    def key(base: _Base, point: Point) -> _Key:
        return base, tuple((name, point.facts.get(name, "–")) for name in axes)

    keyed_a, keyed_b = ({key(base, point): point for base, point in side} for side in bases)
    return keyed_a, keyed_b


def _base(point: Point, several_budgets: bool) -> _Base:
    """A ladder is compared step by step, and by budget too only where it was climbed at several."""
    if point.ladder_step is None:
        return None, point.ram_bytes
    return point.ladder_step, point.runs[0].asked.get("ram") if several_budgets else None


def _axes(side: Sequence[tuple[_Base, Point]]) -> list[str]:
    grouped: dict[_Base, list[Point]] = {}
    for base, point in side:
        grouped.setdefault(base, []).append(point)
    return [name for group in grouped.values() for name in differing(group)]


def _label(key: _Key) -> str:
    (step, ram), facts = key
    words = [step] if step else []
    words += [format_bytes(ram)] if ram else []
    return ", ".join([*words, *(f"{name} {value}" for name, value in facts)])


def _ratios(a: Point, b: Point) -> dict[str, Ratio]:
    return {quantity.name: ratio_of(quantity, a.runs, b.runs) for quantity in QUANTITIES}
