"""Waiting until a device is as cool as it was, so that a run is not slowed down by the heat of the runs before it.

Heat is what the device tells: its thermal status, and the temperatures of battery and skin. A processor's own sensors
follow its load within a second and are left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flashneuron.device.parse import thermal_level
from flashneuron.profile.run_file import CoolDown
from flashneuron.progress import Progress

LIMIT_S = 300  # a phone's skin needs minutes
TOLERANCE_C = 1.0
_PAUSE_S = 5.0  # asking wakes the device up, so it is not asked all the time
_PLACES = {"battery": ("battery", "temperature_c"), "skin": ("thermal", "skin_c")}

Conditions = Mapping[str, Any]


@dataclass(frozen=True)
class Heat:
    """What a device tells of its heat. Empty where it tells nothing."""

    status: str | None
    level: int | None  # of the status
    degrees_c: Mapping[str, float]  # by place

    @classmethod
    def of(cls, conditions: Conditions) -> Heat:
        told = {place: _fact(conditions, *where) for place, where in _PLACES.items()}
        degrees = {place: float(value) for place, value in told.items() if isinstance(value, int | float)}
        status = _fact(conditions, "thermal", "status")
        level = thermal_level(status)
        return cls(None if level is None else str(status), level, degrees)

    def comparable(self, other: Heat) -> bool:
        both = self.level is not None and other.level is not None
        return both or bool(self.degrees_c.keys() & other.degrees_c.keys())

    def warmer_than(self, start: Heat) -> list[str]:
        """In words what is warmer than at the start, by more than the tolerance."""
        found = []
        if self.level is not None and start.level is not None and self.level > start.level:
            found.append(f"thermal status {self.status} ({start.status} at the start)")
        for place, value in self.degrees_c.items():
            before = start.degrees_c.get(place)
            if before is not None and value > before + TOLERANCE_C:
                found.append(f"{place} {value:.1f} °C ({before:.1f} at the start)")
        return found


@dataclass(frozen=True)
class CoolingDown:
    """How long is waited at most; 0: not at all. Time is injected for tests."""

    limit_s: float = LIMIT_S
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def wait(
        self, start: Heat, ask: Callable[[], dict[str, Any]], progress: Progress
    ) -> tuple[CoolDown, dict[str, Any]]:
        """Returns when the device is as cool as at the start, or the limit is reached: what was waited for, and the
        conditions now.
        """
        begun, passed = self.now(), 0.0
        conditions = ask()
        heat = Heat.of(conditions)
        warmer = heat.warmer_than(start)
        if warmer and self.limit_s > 0:
            with progress.step(f"cool down: {', '.join(warmer)}", self.limit_s, "s") as advance:
                while warmer and passed < self.limit_s:
                    self.sleep(min(_PAUSE_S, self.limit_s - passed))
                    conditions = ask()
                    heat = Heat.of(conditions)
                    warmer = heat.warmer_than(start)
                    advance(self.now() - begun - passed)
                    passed = self.now() - begun
            if warmer:
                progress.note(f"still warm after {self.limit_s:g} s: {', '.join(warmer)}; the next run says so")
        state: Literal["cool", "warm", "untold"] = "warm" if warmer else "cool"
        state = state if heat.comparable(start) else "untold"
        return CoolDown(limit_s=self.limit_s, waited_s=round(passed, 3), state=state, warmer=warmer), conditions


def _fact(conditions: Conditions, group: str, name: str) -> Any:
    found = conditions.get(group)
    return found.get(name) if isinstance(found, Mapping) else None
