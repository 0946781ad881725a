"""The host's part of a trace: brought from the device whole or not at all, with the device's conditions."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from runs import EMULATED, HOST, generate_events

from flashneuron.device.detached import DetachedRun
from flashneuron.device.host import HostDevice
from flashneuron.errors import DeviceError, FlashneuronError, InputError, RunnerError
from flashneuron.package.manifest import Package
from flashneuron.profile.attach import forget
from flashneuron.profile.etdump import generate
from flashneuron.profile.session import Session
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.trace import check_trace_file, traced
from flashneuron.progress import Progress, SilentProgress

TINY = Path(__file__).parents[1] / "data" / "tiny_package"
SLICE = {"ph": "X", "name": "prefill", "pid": 1, "tid": 1, "ts": 1, "dur": 2, "args": {}}


def text_of(dropped: int = 0) -> str:
    other = {"otherData": {"package": "tiny", "settings": {"ram": "5"}, "dropped_spans": dropped}}
    first = json.dumps(other).removesuffix("}")
    return f'{first},\n"displayTimeUnit":"ms","traceEvents":[\n{json.dumps(SLICE)},\n{json.dumps(SLICE)}\n]}}\n'


class TracingRunner:
    """Leaves `text` where it is told to; `error` ends its runs."""

    def __init__(self) -> None:
        self.text = text_of()
        self.error: Exception | None = None
        self.keys: dict[str, str] = {}

    def events(self, verb: str, keys: Mapping[str, str], stdin: bytes = b"") -> Iterator[dict[str, Any]]:
        self.keys = dict(keys)
        remote = Path(keys["trace"])
        if self.error is not None:
            Path(f"{remote}.tmp").write_text("half")
            raise self.error
        remote.write_text(self.text)
        yield from generate_events({}, [7, 8])


class Notes(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


Run = Callable[..., None]


@pytest.fixture
def runner() -> TracingRunner:
    return TracingRunner()


@pytest.fixture
def device(tmp_path: Path) -> HostDevice:
    (tmp_path / "device" / "tmp").mkdir(parents=True)
    return HostDevice(tmp_path / "device")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def run(runner: TracingRunner, device: HostDevice) -> Run:
    def call(file: Path, conditions: dict[str, Any] = EMULATED, progress: Progress | None = None) -> None:
        package = Package.open(TINY)
        session = Session(
            package, "127.0.0.1:5038", runner, {"package": "/p"}, lambda: conditions, lambda: None, link=device
        )
        with traced(session, file, progress or SilentProgress()) as keys:
            generate(session, RunSettings(max_new_tokens=2), [2, 5], lambda token: None, None, keys)

    return call


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_trace_says_of_what_it_is(run: Run, folder: Path, device: HostDevice) -> None:
    run(folder / "t.json")
    found = json.loads((folder / "t.json").read_text())
    other = found["otherData"]
    assert (other["package"], other["settings"], other["dropped_spans"]) == ("tiny", {"ram": "5"}, 0)
    assert (other["device"], other["emulated"], other["conditions"]) == ("127.0.0.1:5038", True, EMULATED)
    label, *slices = found["traceEvents"]
    assert label["args"]["labels"] == "emulated phone test-phone"
    assert slices == [SLICE, SLICE]
    assert names(folder) == ["t.json"]
    assert names(Path(device.root) / "tmp") == []


def test_a_trace_of_no_emulated_phone_has_no_such_label(run: Run, folder: Path) -> None:
    run(folder / "t.json", HOST)
    found = json.loads((folder / "t.json").read_text())
    assert found["otherData"]["emulated"] is False
    assert found["traceEvents"] == [SLICE, SLICE]


def test_a_trace_replaces_an_older_one(run: Run, folder: Path) -> None:
    (folder / "t.json").write_text("old")
    run(folder / "t.json")
    assert json.loads((folder / "t.json").read_text())["traceEvents"]


def test_what_is_missing_is_said(run: Run, runner: TracingRunner, folder: Path) -> None:
    runner.text, notes = text_of(dropped=41), Notes()
    run(folder / "t.json", progress=notes)
    assert any("lacks 41 spans" in note for note in notes.said)


@pytest.mark.parametrize("text", ["", "no trace\n", '{"otherData":{},\n', '{"otherData":[1],\n'])
def test_a_damaged_trace_is_refused_in_one_line(run: Run, runner: TracingRunner, folder: Path, text: str) -> None:
    runner.text = text
    (folder / "t.json").write_text("old")
    with pytest.raises(FlashneuronError, match="rebuild the runner") as refused:
        run(folder / "t.json")
    assert "\n" not in str(refused.value)
    assert (folder / "t.json").read_text() == "old"
    assert names(folder) == ["t.json"]


def test_a_failed_run_leaves_nothing_anywhere(
    run: Run, runner: TracingRunner, folder: Path, device: HostDevice
) -> None:
    runner.error = RunnerError("io", "a read failed")
    with pytest.raises(RunnerError, match="a read failed"):
        run(folder / "t.json")
    assert names(folder) == names(Path(device.root) / "tmp") == []


def test_a_lost_device_leaves_nothing_here(
    run: Run, runner: TracingRunner, device: HostDevice, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise DeviceError("the device went away")

    monkeypatch.setattr(HostDevice, "pull", lost)
    with pytest.raises(DeviceError, match="went away"):
        run(folder / "t.json")
    assert names(folder) == []


def test_bad_names_are_refused_before_anything_runs(run: Run, runner: TracingRunner, folder: Path) -> None:
    for file, says in ((folder, "is not a file"), (folder / "no" / "t.json", "is not a folder; make it")):
        with pytest.raises(InputError, match=says):
            check_trace_file(file)
        with pytest.raises(InputError, match=says):
            run(file)
    assert runner.keys == {}


def test_an_attached_run_leaves_no_trace_on_the_device(device: HostDevice, tmp_path: Path) -> None:
    """Nor takes anything with it that it cannot have made."""
    own, foreign = Path(device.root) / "tmp" / "a.trace", tmp_path / "b.trace"
    for path in (own, Path(f"{own}.tmp"), foreign):
        path.write_text("{}")
    for path in (own, foreign):
        assert forget(device, DetachedRun("abc", "exit 0", {"keys": {"ram": "5", "trace": str(path)}})) == ["trace"]
    assert names(own.parent) == []
    assert foreign.exists()
    assert forget(device, DetachedRun("abc", "died", {})) == []
