"""What a flash curve settles: threads, gaps and the longest read, and that runs take them where nothing was asked."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from curves import bursts
from hypothesis import given
from hypothesis import strategies as st
from runs import EMULATED, HOST

from flashneuron.device.protocol import ShellResult
from flashneuron.errors import FlashneuronError, InputError
from flashneuron.package.manifest import Package
from flashneuron.profile.flash_curve import (
    MOST_READ,
    CoreKind,
    CurvePoint,
    FlashCurve,
    curve_path,
    find_curve,
    fit_cost,
    tune,
    write_curve,
)
from flashneuron.profile.probe import measure_curve
from flashneuron.profile.session import Session
from flashneuron.profile.settings import RunSettings
from flashneuron.progress import SilentProgress
from flashneuron.report.curve import curve_text

TINY = Path(__file__).parents[1] / "data" / "tiny_package"
SIZES = [4096 << n for n in range(11)]


def device_points(per_read_us: float, bytes_per_us: float, most_threads: int = 8) -> list[CurvePoint]:
    """A device that a read costs a latency and its bytes, and that serves `most_threads` at once."""
    points = []
    for threads in (1, 2, 4, 8, 16, 32):
        for size in SIZES:
            cost = per_read_us / min(threads, most_threads) + size / bytes_per_us
            reads = 1000
            points.append(
                CurvePoint(read_bytes=size, threads=threads, reads=reads, wall_us=round(cost * reads), cpu_us=0)
            )
    return points


@given(st.floats(1, 400), st.floats(100, 8000), st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_the_fit_finds_what_a_read_and_a_byte_cost(per_read: float, rate: float, threads: int) -> None:
    found = fit_cost([p for p in device_points(per_read, rate) if p.threads == threads])
    assert found[0] == pytest.approx(per_read / min(threads, 8), rel=0.02, abs=0.02)
    assert found[1] == pytest.approx(1 / rate, rel=0.02)


@given(st.lists(st.tuples(st.sampled_from(SIZES), st.sampled_from([1, 8, 32]), st.integers(1, 10**6)), min_size=1))
def test_whatever_was_measured_the_settings_are_ones_that_the_runner_takes(
    measured: list[tuple[int, int, int]],
) -> None:
    points = [CurvePoint(read_bytes=s, threads=t, reads=1, wall_us=us, cpu_us=0) for s, t, us in measured]
    found = tune(points, 16384)
    assert 1 <= found.io_threads <= 256
    assert 0 <= found.read_gap <= MOST_READ
    assert found.read_gap % 4096 == 0
    assert 4096 <= found.max_read <= MOST_READ
    RunSettings.parse({name: str(getattr(found, name)) for name in ("io_threads", "read_gap", "max_read")})


def test_no_gap_pays_where_only_bytes_count_and_a_wide_one_where_reads_are_dear() -> None:
    assert tune(device_points(0, 700), 16384).read_gap == 0
    # 800 µs a read shared by 8 threads, 1000 bytes a µs: a gap of 100 kB costs as much as a read.
    assert tune(device_points(800, 1000), 16384).read_gap == pytest.approx(100_000, abs=4096)


def test_the_fewest_threads_that_are_as_good_as_any() -> None:
    assert tune(device_points(800, 1000, most_threads=8), 4096).io_threads == 8
    assert tune(device_points(0, 700), 4096).io_threads == 1


def curve(points: list[CurvePoint], **changed: Any) -> FlashCurve:
    facts: dict[str, Any] = {
        "measured": "2026-01-01T00:00:00+00:00", "conditions": dict(HOST), "points": points, "bursts": bursts(),
        "file_bytes": 1 << 30, "block_bytes": 4096, "direct_io": True, "bytes_read": 100, "storage_bytes_read": 100,
        "dram_bytes_per_s": 10**10, "dram_threads": 2,
    }  # fmt: skip
    return FlashCurve(**facts | changed)


class Recorded:
    def __init__(self, events: list[dict[str, Any]]) -> None:
        self._events = events
        self.keys: Mapping[str, str] = {}

    def events(self, verb: str, keys: Mapping[str, str], stdin: bytes = b"") -> Iterator[dict[str, Any]]:
        self.keys = keys
        yield from self._events


def tuned(found: FlashCurve | None, settings: RunSettings) -> RunSettings:
    session = Session(Package.open(TINY), "host", Recorded([]), {}, lambda: HOST, lambda: None, found)
    return session.tuned(settings)


def test_runs_take_what_was_left_open_from_the_curve() -> None:
    found = curve(device_points(800, 1000))
    asked = tuned(found, RunSettings(read_gap=0, window=4))
    assert asked.io_threads == 8
    assert asked.max_read is not None
    assert asked.read_gap == 0
    assert asked.window == 4
    assert tuned(None, RunSettings(window=4)) == RunSettings(window=4)


@pytest.mark.parametrize("changed", [{"direct_io": False}, {"storage_bytes_read": 99}])
def test_a_curve_of_the_page_cache_settles_nothing(changed: dict[str, Any]) -> None:
    found = curve(device_points(800, 1000), **changed)
    assert tuned(found, RunSettings()) == RunSettings()
    assert "settles nothing" in curve_text(found, {})


def test_a_curve_is_kept_by_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = curve(device_points(10, 700))
    assert find_curve(HOST) is None
    write_curve(found, curve_path(HOST))
    assert find_curve(HOST) == found
    assert find_curve(EMULATED) is None
    assert find_curve({**HOST, "ram_available_bytes": 5}) == found  # what changes from hour to hour is no identity
    curve_path(HOST).write_text("{}")
    with pytest.raises(InputError, match="flashneuron probe"):
        find_curve(HOST)


def test_the_table_shows_every_size_and_what_follows() -> None:
    points = device_points(800, 1000)
    text = curve_text(curve(points), {16384: tune(points, 16384)})
    assert "4 MiB" in text.replace("4.00", "4")
    assert "io_threads" in text


class FakeDevice:
    root = Path("somewhere")
    name, kind = "host", "host"

    def shell(self, argv: list[str], **_: Any) -> Any:
        return ShellResult(b"@@ kernel\n6.1\n", b"", 0)


def test_the_probe_asks_the_runner_and_refuses_half_an_answer() -> None:
    point = {"event": "point", "read_bytes": 4096, "threads": 1, "reads": 5, "wall_us": 100, "cpu_us": 50}
    result = {"event": "result", "file_bytes": 1 << 24, "block_bytes": 4096, "direct_io": True, "bytes_read": 20480,
              "storage_bytes_read": 20480, "dram_bytes_per_s": 10**10, "dram_threads": 2}  # fmt: skip
    burst = {"event": "burst", "read_bytes": 4096, "threads": 1, "reads": 4, "bursts": 2, "wall_us": 90, "lost_us": 3}
    runner = Recorded([point, burst, result])
    found = measure_curve(runner, FakeDevice(), 1 << 24, SilentProgress())  # type: ignore[arg-type]
    assert runner.keys == {"folder": "somewhere", "size": "16777216"}
    assert found.of_flash
    assert found.points[0].us_per_read == 20
    assert (found.bursts[0].wall_us, found.bursts[0].lost_us) == (90, 3)
    with pytest.raises(FlashneuronError, match="incomplete"):
        measure_curve(Recorded([point, burst]), FakeDevice(), 1 << 24, SilentProgress())  # type: ignore[arg-type]


def test_kinds_of_cores_and_hot_reads_have_tables_of_their_own() -> None:
    slow, fast = (
        [{**point.model_dump(), "core_kind": kind, "wall_us": wall} for point in device_points(100, 1000)]
        for kind, wall in ((0, 409_600), (1, 40_960))
    )
    kinds = [{"cpus": [0, 1], "speed": 400, "measured": True}, {"cpus": [2], "speed": 1024, "measured": True}]
    found = curve(device_points(100, 1000), kind_points=slow + fast, core_kinds=kinds)
    text = curve_text(found, {})
    assert "with the workers on cores 0, 1 (speed 400):" in text
    assert "with the workers on cores 2 (speed 1024):" in text
    assert "hot" not in text
    refused = found.model_copy(update={"core_kinds": [CoreKind(cpus=[7], speed=1, measured=False)]})
    assert "cores 7 (speed 1): not measured" in curve_text(refused, {})
    hot = curve_text(curve(device_points(100, 1000), hot_points=device_points(1, 9000)), {})
    assert "hot: of what lies in the page cache" in hot
