"""Waiting for a device to cool down: as long as needed, no longer than allowed, never for what it does not tell."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_profile import FakeDevice
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import EMULATED

from flashneuron.device.parse import parse_battery, parse_thermal
from flashneuron.errors import RunnerError
from flashneuron.profile.cool_down import TOLERANCE_C, CoolingDown, Heat
from flashneuron.profile.experiment import Job, Measured, Point, measure
from flashneuron.profile.run_file import Workload, read_run
from flashneuron.profile.settings import RunSettings
from flashneuron.progress import Advance, SilentProgress

WORKLOAD = Workload(source="test", prompt_ids=[2, 5, 6, 7], max_new_tokens=5)
JOBS = [Job(Point(RunSettings(ram=24 << 20)), WORKLOAD), Job(Point(RunSettings(ram=32 << 20)), WORKLOAD)]


def heat(status: str | None = "none", battery: float | None = 25.0, skin: float | None = 30.0) -> dict[str, Any]:
    """Conditions of a phone that is as warm as this."""
    thermal = None if status is None else {"status": status, "temperatures_c": {}, "skin_c": skin}
    return {**EMULATED, "battery": {"level_percent": 90, "temperature_c": battery}, "thermal": thermal}


@dataclass
class Clock:
    seconds: float = 0.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.seconds += seconds

    def cooling(self, limit_s: float) -> CoolingDown:
        return CoolingDown(limit_s, self.now, self.sleep)


@dataclass
class Said(SilentProgress):
    lines: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.lines.append(text)

    def step(self, title: str, total: float, unit: str = "") -> AbstractContextManager[Advance]:
        self.lines.append(title)
        return super().step(title, total, unit)


def wait(
    told: list[dict[str, Any]], limit_s: float = 300, start: dict[str, Any] | None = None
) -> tuple[Any, Clock, Said]:
    clock, said = Clock(), Said()
    found, conditions = clock.cooling(limit_s).wait(Heat.of(start or heat()), FakeDevice(told=told).conditions, said)
    assert conditions == told[-1]
    return found, clock, said


def test_a_device_that_is_cool_is_not_waited_for() -> None:
    found, clock, said = wait([heat(battery=25.0 + TOLERANCE_C)])
    assert (found.state, found.waited_s, found.warmer, clock.seconds, said.lines) == ("cool", 0, [], 0, [])


@pytest.mark.parametrize(
    ("warm", "says"),
    [
        (heat("severe"), "thermal status severe (none at the start)"),
        (heat(battery=38.25), "battery 38.2 °C (25.0 at the start)"),
        (heat(skin=41.0), "skin 41.0 °C (30.0 at the start)"),
    ],
)
def test_status_battery_and_skin_are_each_waited_for(warm: dict[str, Any], says: str) -> None:
    found, clock, said = wait([warm, warm, warm, heat(skin=20.0)])
    assert (found.state, found.warmer) == ("cool", [])
    assert found.waited_s == clock.seconds == 15
    assert said.lines == [f"cool down: {says}"]


def test_at_the_limit_the_run_goes_on_and_says_that_it_started_warm() -> None:
    found, clock, said = wait([heat("moderate")], limit_s=12)
    assert (found.state, found.waited_s, clock.seconds) == ("warm", 12, 12)
    assert found.warmer == ["thermal status moderate (none at the start)"]
    assert "still warm after 12 s" in said.lines[-1]


def test_without_waiting_it_is_still_told_who_was_warm() -> None:
    found, clock, said = wait([heat("light")], limit_s=0)
    assert (found.state, found.waited_s, clock.seconds, said.lines) == ("warm", 0, 0, [])


@pytest.mark.parametrize("told", [EMULATED, {"battery": None, "thermal": None}, heat("warmish", None, None)])
def test_a_device_that_tells_nothing_is_not_waited_for(told: dict[str, Any]) -> None:
    found, clock, _ = wait([told], start=told)
    assert (found.state, clock.seconds) == ("untold", 0)


def test_a_device_that_falls_silent_while_it_is_warm_is_waited_for_no_longer() -> None:
    found, clock, _ = wait([heat("severe"), {"battery": None, "thermal": None}])
    assert (found.state, clock.seconds) == ("untold", 5)


def test_what_real_phones_print_is_compared() -> None:
    battery, text = (
        "level: 87\ntemperature: {}\n",
        (
            "Thermal Status: {}\nCurrent temperatures from HAL:\n"
            "\tTemperature{{mValue={}, mType=3, mName=VIRTUAL-SKIN, mStatus=0}}\n"
            "\tTemperature{{mValue=88.0, mType=0, mName=CPU0, mStatus=0}}\n"
        ),
    )
    before, after = (
        Heat.of({"battery": parse_battery(battery.format(tenths)), "thermal": parse_thermal(text.format(*thermal))})
        for tenths, thermal in ((312, (0, 36.0)), (330, (1, 38.5)))
    )
    assert [line.split(" (")[0] for line in after.warmer_than(before)] == [
        "thermal status light", "battery 33.0 °C", "skin 38.5 °C",
    ]  # fmt: skip
    assert before.warmer_than(after) == []


_CONDITIONS = st.builds(
    heat,
    st.sampled_from(["none", "light", "severe", "9", "odd", None]),
    st.none() | st.floats(-40, 120),
    st.none() | st.floats(-40, 120),
)


@settings(deadline=None)
@given(_CONDITIONS, st.lists(_CONDITIONS, min_size=1, max_size=8), st.integers(0, 60))
def test_no_wait_is_longer_than_its_limit(start: dict[str, Any], told: list[dict[str, Any]], limit_s: int) -> None:
    clock = Clock()
    found, now = clock.cooling(limit_s).wait(Heat.of(start), FakeDevice(told=list(told)).conditions, SilentProgress())
    assert clock.seconds == found.waited_s <= limit_s
    warmer = Heat.of(now).warmer_than(Heat.of(start))
    assert (found.state == "warm", found.warmer) == (bool(warmer), warmer)
    assert found.state != "warm" or clock.seconds == limit_s


def profile(
    device: FakeDevice, folder: Path, cooling: CoolingDown, said: Said | None = None, jobs: list[Job] = JOBS
) -> list[Measured]:
    return measure(device.session(), jobs, 1, folder, said or Said(), cooling)


def test_each_run_waits_for_the_heat_of_those_before_and_records_it(tmp_path: Path) -> None:
    """Asked at the start, before the first run, after it, before the second one, while it waits, after it."""
    told = [heat(), heat(), heat("light"), heat("light"), heat("light"), heat(), heat()]
    clock, said = Clock(), Said()
    first, second = profile(FakeDevice(told=told), tmp_path, clock.cooling(300), said)
    assert [one.run.cool_down and (one.run.cool_down.state, one.run.cool_down.waited_s) for one in (first, second)] == [
        ("cool", 0), ("cool", 10),
    ]  # fmt: skip
    assert second.run.conditions_before["thermal"]["status"] == "none"
    assert read_run(second.path) == second.run
    assert sum("cool down" in line for line in said.lines) == 1


def test_one_warm_up_comes_first_and_counts_for_nothing(tmp_path: Path) -> None:
    device, said = FakeDevice(), Said()
    found = profile(device, tmp_path, Clock().cooling(300), said)
    keys, stdin = zip(*device.generated, strict=True)
    assert [each["max_new_tokens"] for each in keys] == ["4", "5", "5"]
    assert (keys[0]["ram"], stdin[0]) == (keys[1]["ram"], stdin[1])
    assert {path.name for path in tmp_path.iterdir()} == {one.path.name for one in found}
    for one in found:
        assert one.run.warm_up == found[0].run.warm_up
        assert one.run.warm_up is not None
        assert (one.run.warm_up.tokens, one.run.warm_up.prompt_tokens) == (4, 4)
        assert one.run.cool_down is not None
        assert one.run.cool_down.state == "untold"
    assert any("tells no heat" in line for line in said.lines)


def test_where_nothing_is_left_to_measure_nothing_is_warmed_up(tmp_path: Path) -> None:
    profile(FakeDevice(), tmp_path, Clock().cooling(0))
    again = FakeDevice()
    assert len(profile(again, tmp_path, Clock().cooling(0))) == 2
    assert again.generated == []


def test_the_smallest_budget_is_tried_first_and_one_that_is_too_small_costs_no_run(tmp_path: Path) -> None:
    device = FakeDevice()
    jobs = [Job(Point(RunSettings(ram=ram)), WORKLOAD) for ram in (None, 32 << 20, 8 << 20)]

    def refuse(name: str) -> None:
        if device.generated[-1][0].get("ram") == str(8 << 20):
            raise RunnerError("budget_too_small", "too small")

    device.on_event = refuse
    with pytest.raises(RunnerError):
        profile(device, tmp_path, Clock().cooling(0), jobs=jobs)
    assert len(device.generated) == 1
    assert list(tmp_path.iterdir()) == []
