"""Runs that outlive the link, on the host's own device: every line once, whatever is lost in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import pytest

from flashneuron.device import detached
from flashneuron.device.host import HostDevice
from flashneuron.device.protocol import RunningCommand, ShellResult
from flashneuron.device.run_events import Patience, events_of
from flashneuron.device.runner import RUNNER, Runner
from flashneuron.errors import DeviceError, InputError, LinkLost, RunnerError
from flashneuron.profile.attach import Attached

COUNT = 'i=0; while [ $i -lt 20 ]; do echo "{\\"event\\":\\"token\\",\\"id\\":$i}"; i=$((i+1)); done; exit 0'
FOREVER = 'echo "{\\"event\\":\\"ready\\"}"; sleep 600 & wait'


def begin(device: HostDevice, script: str, stdin: bytes = b"") -> str:
    return detached.start(device, ["sh", "-c", script], stdin, {"verb": "generate", "started": "now"})


class Flaky(HostDevice):
    """A device whose link is lost after `lines` lines of every stream, and which is away for `away` calls then."""

    def __init__(self, root: Path, lines: int, away: int = 2) -> None:
        super().__init__(root)
        self._lines, self._away, self._gone = lines, away, 0
        self.lost = 0

    def shell(self, argv: Sequence[str], *, stdin: PurePosixPath | None = None, timeout_s: float = 60) -> ShellResult:
        if self._gone:
            self._gone -= 1
            raise DeviceError("no device answers")
        return super().shell(argv, stdin=stdin, timeout_s=timeout_s)

    def stream(self, argv: Sequence[str], *, stdin: PurePosixPath | None = None) -> RunningCommand:
        running = super().stream(argv, stdin=stdin)
        inner = type(running).__iter__
        device = self

        class Cut(type(running)):  # type: ignore[misc]
            def __iter__(self) -> Iterator[bytes]:
                for number, line in enumerate(inner(self)):
                    if number == device._lines:
                        device.lost += 1
                        device._gone = device._away
                        raise LinkLost("the device went away (cut); reconnect it")
                    yield line

        running.__class__ = Cut
        return running


def patient(waits: list[float]) -> Patience:
    return Patience(60, waits.append, lambda: sum(waits))


def test_every_event_comes_once_however_often_the_link_is_lost(tmp_path: Path) -> None:
    device, waits = Flaky(tmp_path, lines=3), list[float]()
    name = begin(device, COUNT)
    ids = [event["id"] for event in events_of(device, name, "generate", patient(waits))]
    assert ids == list(range(20))
    assert device.lost >= 1
    assert waits[:2] == [0.1, 0.2]


def test_a_device_that_stays_away_is_given_up_and_the_run_is_named(tmp_path: Path) -> None:
    device, waits = Flaky(tmp_path, lines=1, away=10**6), list[float]()
    name = begin(device, FOREVER.replace("sleep", "echo '{}'; sleep"))
    with pytest.raises(LinkLost, match=f"went away .cut.; the run goes on there; .*: flashneuron attach {name}"):
        list(events_of(device, name, "generate", patient(waits)))
    assert 60 <= sum(waits) < 70
    detached.stop(HostDevice(tmp_path), name)


def test_one_run_at_a_time(tmp_path: Path) -> None:
    device = HostDevice(tmp_path)
    name = begin(device, FOREVER)
    with pytest.raises(DeviceError, match=rf"busy with another run \({name}, since now\); follow it by .*--stop'"):
        begin(device, COUNT)
    assert [(run.name, run.state) for run in detached.list_runs(device)] == [(name, "running")]
    detached.stop(device, name)
    (stopped,) = detached.list_runs(device)
    assert not stopped.is_running
    assert list(events_of(device, begin(device, COUNT), "generate"))


def test_a_run_that_is_killed_ends_the_following(tmp_path: Path) -> None:
    device = HostDevice(tmp_path)
    name = begin(device, FOREVER)
    events = events_of(device, name, "generate")
    assert next(events) == {"event": "ready"}
    os.killpg(int((tmp_path / "runs" / name / "pid").read_text()), signal.SIGKILL)
    with pytest.raises(DeviceError, match=rf"run {name} was ended on host, or the device restarted"):
        next(events)
    assert detached.list_runs(device)[0].state == "died"


def test_results_wait_for_whoever_comes(tmp_path: Path) -> None:
    device = HostDevice(tmp_path)
    name = begin(device, "cat; exit 0", b'{"event":"result"}\n')
    assert list(events_of(device, name, "generate")) == [{"event": "result"}]
    assert [(run.name, run.state, run.request["verb"]) for run in detached.list_runs(device)] == [
        (name, "exit 0", "generate")
    ]
    assert detached.stdin_of(device, name) == b'{"event":"result"}\n'
    for _ in range(15):
        list(events_of(device, begin(device, "exit 0"), "generate"))
    assert len(detached.list_runs(device)) <= 11  # what nobody reads is not kept for ever


def test_an_error_event_and_a_line_cut_short(tmp_path: Path) -> None:
    device = HostDevice(tmp_path)
    line = json.dumps({"event": "error", "code": "io", "message": "no"})
    with pytest.raises(RunnerError, match="no"):
        list(events_of(device, begin(device, f"echo '{line}'; exit 1"), "generate"))
    cut = begin(device, """echo '{"event":"ready"}'; printf '{"event":"tok'; kill -9 $$""")
    with pytest.raises(DeviceError, match="the device killed the runner"):
        assert list(events_of(device, cut, "generate")) == [{"event": "ready"}]


def test_stopping_a_run_that_has_ended_harms_nobody(tmp_path: Path) -> None:
    device = HostDevice(tmp_path)
    name = begin(device, "exit 0")
    assert list(events_of(device, name, "generate")) == []
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=True) as other:
        (tmp_path / "runs" / name / "pid").write_text(f"{other.pid}\n")  # its number went to another process
        detached.stop(device, name)
        other.communicate()
    assert other.returncode == 0


def test_a_run_that_never_came_to_its_output_ends_the_following(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    assert list(detached.follow(HostDevice(tmp_path), "a", 0)) == []


class Leaving(HostDevice):
    """A device that does not answer to `command` and those after it."""

    command = ""

    def shell(self, argv: Sequence[str], *, stdin: PurePosixPath | None = None, timeout_s: float = 60) -> ShellResult:
        if self.command and self.command in argv:
            raise DeviceError("no device answers")
        return super().shell(argv, stdin=stdin, timeout_s=timeout_s)


def runner_of(device: HostDevice, folder: Path, script: str) -> Runner:
    (folder / RUNNER).write_text(f"#!/bin/sh\n{script}\n")
    (folder / RUNNER).chmod(0o755)
    return Runner(device, PurePosixPath(folder))


def test_what_was_read_counts_though_the_link_is_lost_after_it(tmp_path: Path) -> None:
    device = Leaving(tmp_path / "device")
    device.command = "rm"
    runner = runner_of(device, tmp_path, COUNT)
    assert len(list(runner.events("generate", {}))) == 20


def test_a_person_who_ends_a_run_that_is_out_of_reach_is_told(tmp_path: Path) -> None:
    device = Leaving(tmp_path / "device")
    events = runner_of(device, tmp_path, FOREVER).events("generate", {})
    assert next(events) == {"event": "ready"}
    device.command = "sh"
    with pytest.raises(LinkLost, match=r"host does not answer, so the run goes on there; .* attach \w+ --stop"):
        events.close()  # type: ignore[attr-defined]
    device.command = ""
    (run,) = detached.list_runs(device)
    assert run.is_running
    detached.stop(device, run.name)


@pytest.mark.parametrize("request_", [{"version": "0.0.1", "verb": "generate"}, {"verb": "generate"}, {}])
def test_a_run_of_another_version_is_refused(tmp_path: Path, request_: dict[str, str]) -> None:
    run = detached.DetachedRun("abc", "running", request_)
    with pytest.raises(InputError, match=r"begun by flashneuron (0\.0\.1|another version), .* attach abc --stop"):
        Attached.to(HostDevice(tmp_path), run, None)


def test_a_device_without_the_tools_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to("/bin/sh")
    (tmp_path / "bin" / "rm").symlink_to("/bin/rm")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(DeviceError, match="could not start the runner: it has no flock, as Android has from 7 on"):
        begin(HostDevice(tmp_path / "device"), COUNT)
