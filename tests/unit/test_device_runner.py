"""What the host makes of a runner's output, however the runner ends."""

import json
from pathlib import Path, PurePosixPath

import pytest

import flashneuron
from flashneuron.device.host import HostDevice
from flashneuron.device.phones import process_start_ticks
from flashneuron.device.runner import RUNNER, Runner
from flashneuron.device.runner_words import explain_death, parse_event
from flashneuron.errors import DeviceError, RunnerError


def make_runner(tmp_path: Path, script: str) -> Runner:
    """A host device whose runner is this shell script."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    (folder / RUNNER).write_text("#!/bin/sh\n" + script)
    (folder / RUNNER).chmod(0o755)
    return Runner(HostDevice(tmp_path / "device"), PurePosixPath(folder))


def test_verb_version_keys_and_stdin_arrive(tmp_path: Path) -> None:
    runner = make_runner(tmp_path, 'printf \'{"event":"result","text":"%s|%s"}\\n\' "$*" "$(cat)"')
    (event,) = runner.events("score", {"window": "4", "kv": "fp32"}, b"1 2 3")
    assert event["text"] == f"score version={flashneuron.__version__} window=4 kv=fp32|1 2 3"
    assert list((tmp_path / "device" / "runs").glob("*/")) == []


def test_the_version_verb_is_asked_without_a_version(tmp_path: Path) -> None:
    runner = make_runner(tmp_path, 'printf \'{"event":"version","text":"%s"}\\n\' "$*"')
    assert [event["text"] for event in runner.events("version", {})] == ["version"]


def test_an_error_event_becomes_a_runner_error(tmp_path: Path) -> None:
    line = json.dumps({"event": "error", "code": "budget_too_small", "message": "too small", "detail": {"a": 1}})
    runner = make_runner(tmp_path, f"echo '{{\"event\":\"ready\"}}'; echo '{line}'; exit 2")
    events = runner.events("generate", {})
    assert next(events) == {"event": "ready"}
    with pytest.raises(RunnerError, match="too small") as caught:
        next(events)
    assert (caught.value.code, caught.value.detail, caught.value.exit_code) == ("budget_too_small", {"a": 1}, 2)


def test_a_runner_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    runner = make_runner(tmp_path, "echo a >&2; echo b >&2; kill -SEGV $$")
    with pytest.raises(DeviceError, match=r"crashed with SIGSEGV; its last words: a \| b"):
        list(runner.events("generate", {}))


def test_leaving_early_ends_the_runner(tmp_path: Path) -> None:
    runner = make_runner(tmp_path, 'echo "{\\"event\\":\\"ready\\",\\"pid\\":$$}"; exec sleep 600')
    events = runner.events("generate", {})
    pid = int(next(events)["pid"])
    assert process_start_ticks(pid) is not None
    events.close()  # type: ignore[attr-defined]
    assert process_start_ticks(pid) is None


def test_death_by_the_memory_limit_says_so() -> None:
    assert "smaller --ram" in explain_death("generate", 137, b"")
    assert "exit code 127" in explain_death("generate", 127, b"not found")


@pytest.mark.parametrize("line", [b"hello", b"[]", b"{}", b'{"event": 3}', b"\xff"])
def test_what_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(DeviceError, match="no event"):
        parse_event(line)
