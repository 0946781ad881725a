"""Whether two sets of runs were measured under equal conditions: only then does a ratio say something of the change.

Every fact and every condition counts, but for those that are known to change from minute to minute. So a condition that
runs learn to tell later counts too, and one that only one side tells is a difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flashneuron.profile.run_file import Run
from flashneuron.report.metrics import Point
from flashneuron.report.origin import condition_title, condition_value, flatten

# "device" is an address, which is another at each connection; facts name the device.
_VOLATILE = {"device", "ram_available_bytes", "storage_free_bytes", "battery.level_percent", "battery.temperature_c"}
_VOLATILE_PREFIXES = ("thermal.temperatures_c.",)
_SHOWN, _LONGEST = 4, 60  # differences told in one line, and characters of a value


@dataclass(frozen=True)
class Difference:
    name: str
    a: str
    b: str

    def __str__(self) -> str:
        return f"{self.name} ({_short(self.a)} against {_short(self.b)})"


def differences(pairs: Sequence[tuple[Point, Point]]) -> list[Difference]:
    """What is not the same on both sides of each pair, besides the budget. Empty: they may be compared."""
    found: dict[str, Difference] = {}
    for a, b in pairs:
        for name in dict.fromkeys((*a.facts, *b.facts)):
            values = a.facts.get(name, "unknown"), b.facts.get(name, "unknown")
            if values[0] != values[1]:
                found.setdefault(name, Difference(name, *values))
    sides = [[run for pair in pairs for run in pair[side].runs] for side in (0, 1)]
    known = [_all_values(runs) for runs in sides]
    for name in dict.fromkeys((*known[0], *known[1])):
        a_values, b_values = (side.get(name, {"unknown"}) for side in known)
        if a_values != b_values and name not in found:
            found[name] = Difference(name, *(" / ".join(sorted(values)) for values in (a_values, b_values)))
    return list(found.values())


def in_one_line(found: Sequence[Difference]) -> str:
    rest = len(found) - _SHOWN
    return "; ".join([*map(str, found[:_SHOWN]), *([f"and {rest} more"] if rest > 0 else [])])


def _all_values(runs: Sequence[Run]) -> dict[str, set[str]]:
    """Every lasting condition with all the values that it had, before and after runs."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for name, version in run.versions.items():
            found.setdefault(name, set()).add(version)
        for conditions in (run.conditions_before, run.conditions_after):
            for name, value in _lasting(conditions):
                found.setdefault(name, set()).add(value)
    return found


def _lasting(conditions: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (condition_title(name), condition_value(name, value))
        for name, value in flatten(conditions)
        if name not in _VOLATILE and not name.startswith(_VOLATILE_PREFIXES)
    ]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
