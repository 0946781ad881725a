"""What came before the runs of each point: the warm-up of their profile, and how far the device had cooled down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from flashneuron.profile.run_file import CoolDown, Run, WarmUp
from flashneuron.report.metrics import Point, differing
from flashneuron.report.point_tables import Table, ladder_variants, milliseconds
from flashneuron.units import format_bytes

_UNKNOWN = "not recorded"
_STATES = {"cool": "cool", "warm": "warm", "untold": "heat unknown"}
_NOTE = (
    "Warm-up: a short run before a profile's first one, which counts in no number. Waited: by each run, until the "
    "device was as cool as at the start of its profile, and what that could take at most. Started: number of runs."
)


def preparation_rows(points: Sequence[Point]) -> Table:
    """One row a point, of budgets and of the ladder."""
    rows = [
        (
            label,
            " / ".join(dict.fromkeys(_warm_up(run.warm_up) for run in point.runs)),
            _waited([run.cool_down for run in point.runs]),
            _started([run.cool_down for run in point.runs]),
        )
        for label, point in _labelled(points)
    ]
    return Table(("point", "warm-up", "waited", "started"), rows, _NOTE)


def preparation_json(runs: Sequence[Run]) -> dict[str, Any]:
    """By run, null where the run's file tells nothing."""
    return {
        name: [None if told is None else told.model_dump(mode="json") for told in found]
        for name, found in (("warm_up", [r.warm_up for r in runs]), ("cool_down", [r.cool_down for r in runs]))
    }


def _labelled(points: Sequence[Point]) -> list[tuple[str, Point]]:
    """Each with its budget or step, and what tells it from others of that."""
    budgets, steps = ([p for p in points if (p.ladder_step is None) is plain] for plain in (True, False))
    names, variants = differing(budgets), ladder_variants(steps)
    words = [(format_bytes(p.ram_bytes), [f"{name} {p.facts.get(name, '–')}" for name in names], p) for p in budgets]
    words += [(f"step {p.ladder_step}", [*variants[id(p)].values()], p) for p in steps]
    return [(", ".join([first, *rest]), point) for first, rest, point in words]


def _warm_up(made: WarmUp | None) -> str:
    if made is None:
        return _UNKNOWN
    return f"prompt of {made.prompt_tokens}, {made.tokens} tokens: {milliseconds(made.wall_us)} ms"


def _waited(found: Sequence[CoolDown | None]) -> str:
    told = [one for one in found if one is not None]
    if not told:
        return _UNKNOWN
    limit = " / ".join(dict.fromkeys(f"{one.limit_s:g} s" if one.limit_s else "none asked" for one in told))
    low, high = min(one.waited_s for one in told), max(one.waited_s for one in told)
    waited = f"{low:.0f} s" if f"{low:.0f}" == f"{high:.0f}" else f"{low:.0f} – {high:.0f} s"
    return f"{waited} (limit: {limit})"


def _started(found: Sequence[CoolDown | None]) -> str:
    """ "cool × 2, warm × 1: skin 41.0 °C (36.0 at the start)"."""
    counts = Counter(_UNKNOWN if one is None else _STATES[one.state] for one in found)
    warmer = dict.fromkeys(what for one in found if one is not None for what in one.warmer)
    counted = ", ".join(f"{state} × {count}" for state, count in counts.items())
    return f"{counted}: {'; '.join(warmer)}" if warmer else counted
