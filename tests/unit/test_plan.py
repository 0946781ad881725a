"""Plans: from a replay's events to a table and a recommendation; rates that runs teach."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from curves import bursts
from runs import make_run

from flashneuron.cli.plan import command
from flashneuron.errors import FlashneuronError, InputError, RunnerError
from flashneuron.package.manifest import Package
from flashneuron.package.trace_file import writing_trace
from flashneuron.profile import plan as plans
from flashneuron.profile.flash_curve import CurvePoint, FlashCurve
from flashneuron.profile.plan import Target, make_plan, predict
from flashneuron.profile.rates import DeviceRates, Observation, Work, add_rates, compute_times, observe, read_rates
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.simulate import LEFT_OUT, simulation
from flashneuron.report.plan_table import plan_json, plan_text

TINY = Path(__file__).parents[1] / "data" / "tiny_package"
MINIMUM, ALL = 20 << 20, 30 << 20
CONDITIONS = {"device": "phone", "kind": "adb", "cores": 8}


def curve() -> FlashCurve:
    points = [
        CurvePoint(read_bytes=4096 << i, threads=t, reads=100, wall_us=round(100 * (80 + 4 * 2**i) / t), cpu_us=500)
        for i in range(11)
        for t in (1, 2, 4, 8)
    ]
    return FlashCurve(
        measured="2026-01-01T00:00:00+00:00", conditions=CONDITIONS, points=points, bursts=bursts(), file_bytes=1 << 30,
        block_bytes=4096, direct_io=True, bytes_read=1, dram_bytes_per_s=10**10, dram_threads=4,
    )  # fmt: skip


TARGET = Target("phone", curve(), DeviceRates(), cores=8)


class Replays:
    """A runner whose caches hold what the budget leaves over the minimum."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, str]] = []

    def events(self, verb: str, keys: Mapping[str, str], stdin: bytes = b"") -> Iterator[dict[str, Any]]:
        assert verb == "replay"
        self.asked.append(keys)
        ram = int(keys.get("ram", ALL))
        budget = {"roles": [], "minimum_bytes": MINIMUM, "all_resident_bytes": ALL, "ram_bytes": ram}
        if ram < MINIMUM:
            raise RunnerError("budget_too_small", "ram is below the minimum", budget)
        missing = round(40 * max(0, ALL - ram) / (ALL - MINIMUM))
        layer = {"cache_rows": 1, "selected": 1000, "hits": 1000 - 10 * missing, "misses": 10 * missing,
                 "rounds": min(10, missing), "longest_bytes": 4096 * min(10, missing), "early_rounds": 0,
                 "early_longest_bytes": 0, "requests": 10 * missing, "bytes_read": 10 * missing * 4096,
                 "early_requests": 0, "early_bytes_read": 0}  # fmt: skip
        settings = {"backend": "xnnpack", "predictor": "lowrank", "overlap": "on", "io_threads": keys["io_threads"],
                    "threads": keys["threads"]}  # fmt: skip
        yield {"event": "replay", "settings": settings, "block_bytes": 4096, "tokens": 10, "layers": [layer] * 2,
               "budget": budget}  # fmt: skip


def plan_of(*rams: int, target: Target = TARGET) -> plans.Plan:
    points = [RunSettings(ram=ram, window="auto") for ram in rams]
    return plan_with(Replays(), points, target)


def plan_with(runner: Replays, points: Sequence[RunSettings], target: Target = TARGET) -> plans.Plan:
    return make_plan(points, partial(predict, Package.open(TINY), "identity", runner, {"package": "x"}, target))


def test_more_memory_is_predicted_to_be_faster_and_the_fastest_is_recommended() -> None:
    plan = plan_of(MINIMUM, 25 << 20, ALL)
    walls = [each.cost.wall_us for each in plan.predictions]
    assert walls == sorted(walls, reverse=True)
    assert plan.recommended is plan.predictions[-1]
    assert plan.predictions[-1].replayed.hit_rate == 1


def test_of_budgets_that_are_as_fast_the_smallest_is_recommended() -> None:
    plan = plan_of(ALL, ALL + 1, ALL - 1)
    assert plan.recommended.asked.ram == ALL - 1


def test_where_the_window_makes_no_difference_it_stays_open() -> None:
    plan = plan_with(Replays(), [RunSettings(ram=ALL, window=window) for window in (2, "auto", 4)])
    assert plan.recommended.asked.window == "auto"


def test_the_reader_is_tuned_by_the_curve_and_threads_are_the_devices() -> None:
    runner = Replays()
    plan_with(runner, [RunSettings(ram=ALL)])
    assert runner.asked[0]["io_threads"] == "8"
    assert runner.asked[0]["threads"] == "4"
    assert runner.asked[0]["block"] == "4096"


def test_a_budget_that_is_too_small_is_shown_beside_the_others_and_refused_alone() -> None:
    plan = plan_of(MINIMUM - 1, ALL)
    assert [each.asked.ram for each in plan.refusals] == [MINIMUM - 1]
    text = plan_text(plan, TARGET, None)
    assert "does not fit: ram is below the minimum" in text
    assert "minimum" in text.splitlines()[-4] + text.splitlines()[-5] + text
    with pytest.raises(RunnerError, match="below the minimum"):
        plan_of(MINIMUM - 1)


def test_table_and_object_say_what_they_are() -> None:
    plan = plan_of(25 << 20, ALL)
    text = plan_text(plan, TARGET, "phone by its curve")
    assert "predicted for" in text
    assert "simulated: phone by its curve" in text
    assert text.count("← recommended") == 1
    assert "by DRAM bandwidth" in text
    found = json.loads(json.dumps(plan_json(plan, TARGET, None)))
    assert found["recommended"] == found["predictions"][1]
    assert found["predictions"][0]["wall_us"] > found["predictions"][1]["wall_us"]
    assert found["simulated"] is None


def test_an_answer_that_breaks_the_protocol_is_one_line() -> None:
    class Silent(Replays):
        def events(self, verb: str, keys: Mapping[str, str], stdin: bytes = b"") -> Iterator[dict[str, Any]]:
            yield {"event": "replay", "tokens": "many"}

    with pytest.raises(FlashneuronError, match="rebuild the runner: flashneuron runtime build"):
        plan_with(Silent(), [RunSettings(ram=ALL)])


def observation(package: str, times_us: float, scale: int = 1, inserted: int = 0) -> Observation:
    work = Work(
        layers=2, attention=scale << 20, head=scale << 20, predictor=scale << 18, ffn=scale << 19, inserted=inserted
    )
    names = ("attention", "predictor", "ffn", "memory", "head", "other")
    return Observation(package=package, settings="s", threads=2, work=work, times_us=dict.fromkeys(names, times_us))


def test_own_runs_count_before_others_and_others_before_a_guess() -> None:
    work = observation("a", 1).work
    runs = [(300, 0), (200, 0), (900, 5), (800, 9)]
    own_runs = [observation("a", us, inserted=reads << 20) for us, reads in runs]
    both = DeviceRates(observations=[observation("b", 900, inserted=1 << 30), *own_runs])
    own, basis = compute_times(both, "a", "s", work, 2, 1e10)
    assert basis == "runs of this package"
    assert own.attention_us == pytest.approx(250)  # the median of the calmest third: 300 and 200
    other, basis = compute_times(both, "c", "s", observation("c", 0, scale=2).work, 2, 1e10)
    assert basis == "runs of other packages"
    assert other.head_us == pytest.approx(2 * 250)
    guess, basis = compute_times(DeviceRates(), "a", "s", work, 2, 1e10)
    assert basis == "DRAM bandwidth"
    assert guess.total_us > 0
    assert compute_times(both, "a", "s", work, 4, 1e10)[1] == "DRAM bandwidth"  # other threads say nothing


def test_a_run_teaches_its_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert read_rates(CONDITIONS) == DeviceRates()
    found = observe(make_run(), Package.open(TINY))
    assert found is not None
    add_rates(CONDITIONS, found)
    add_rates(CONDITIONS, None)
    assert read_rates(CONDITIONS).observations == [found]
    next((tmp_path / "flashneuron" / "rates").iterdir()).write_text("{")
    with pytest.raises(InputError, match="is damaged; remove it"):
        read_rates(CONDITIONS)


def test_the_command_refuses_what_cannot_be_planned_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("{}")
    (tmp_path / "curve.json").write_text(curve().model_dump_json())
    by_file = ("--curve", str(tmp_path / "curve.json"))

    def refused(*arguments: str) -> str:
        result = CliRunner().invoke(command, arguments)
        assert isinstance(result.exception, InputError)
        return str(result.exception)

    assert "has no activation trace" in refused(str(TINY), *by_file)
    assert "not both" in refused(str(TINY), *by_file, "--device", "host")
    assert "is not a flash curve" in refused(str(TINY), "--curve", str(tmp_path / "none.json"))
    assert "cannot read" in refused(str(TINY), "--curve", str(tmp_path / "no file"))
    assert "a package, or a trace" in refused(*by_file)
    assert "a package, or a trace" in refused(str(TINY), "--replay", "x", *by_file)
    assert "needs --hidden-size" in refused("--replay", "x", *by_file)


def test_a_simulation_needs_no_package_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    with writing_trace(tmp_path / "trace.bin", 2, 1000) as trace:
        for _ in range(2):
            trace.add(np.random.default_rng(0).random((20, 1000)) < 0.1)
    runner = Replays()
    _, predict_one = simulation(tmp_path / "trace.bin", 64, "fp16", runner, TARGET)
    plan = make_plan([RunSettings(ram=size) for size in (ALL // 2, ALL)], predict_one)
    assert runner.asked[0]["rows"] == str(ALL // 2 // 256)
    assert runner.asked[0]["record_bytes"] == "256"
    assert "ram" not in runner.asked[0]
    assert "DRAM bandwidth" in plan_text(plan, TARGET, LEFT_OUT)
    with pytest.raises(InputError, match="needs --ram"):
        predict_one(RunSettings())
