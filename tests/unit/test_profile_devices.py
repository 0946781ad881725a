"""profile on several devices: each in a process of its own, none of which another's failure or Ctrl+C leaves behind."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from fake_profile import TINY

from flashneuron.cli import profile_devices, profile_several
from flashneuron.cli.main import cli
from flashneuron.cli.profile import command
from flashneuron.cli.profile_devices import folder_names, run_on_each
from flashneuron.cli.profile_several import arguments_of
from flashneuron.errors import DeviceError, InputError

CHILD = (sys.executable, str(Path(__file__).with_name("profile_child.py")))


@pytest.fixture(autouse=True)
def children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Processes are started as always, but of a made-up program."""
    monkeypatch.chdir(tmp_path)
    started = profile_devices.run_on_each
    monkeypatch.setattr(profile_several, "run_on_each", lambda words, err: started(words, err, CHILD))


def profile(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["profile", str(TINY), "--ram", "24M", *arguments])


def test_each_device_has_its_folder_and_its_name_before_its_lines(tmp_path: Path) -> None:
    done = profile("--device", "good-1,good-2", "-o", "out", "--format", "json")
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"good-1", "good-2"}
    lines = done.stderr.splitlines()
    assert "[good-1] profile of good-1" in lines
    assert "[good-2] profile of good-2" in lines
    data = json.loads(done.stdout)
    assert [run["device"] for run in data["runs"]] == ["good-1", "good-1", "good-2", "good-2"]
    assert {"rss_anon_bytes", "vm_swap_bytes", "major_faults"} <= data["runs"][0]["memory"].keys()
    assert lines[-1] == "4 runs in out; see them: flashneuron report out/*"


def test_one_that_fails_stops_no_other_and_is_named_at_the_end(tmp_path: Path) -> None:
    done = profile("--device", "bad", "--device", "good", "-o", "out")
    assert isinstance(done.exception, DeviceError)
    assert str(done.exception) == "1 of 2 devices failed: bad; its lines above say why"
    assert done.exception.exit_code == 1
    assert "[bad] flashneuron: bad does not answer" in done.stderr.splitlines()
    assert len(list((tmp_path / "out" / "good").glob("*.json"))) == 2
    assert "major faults" in done.stdout


def test_tables_of_several_devices_name_them() -> None:
    done = profile("--device", "good-1,good-2", "-o", "out")
    rows = done.stdout.partition("\nMemory\n")[2].splitlines()
    assert [row.split()[0] for row in rows] == ["device", "──────", "good-1", "good-1", "good-2", "good-2"]


class Watched(io.StringIO):
    """Does something once these lines were written."""

    def __init__(self, lines: set[str], do: Callable[[], None]) -> None:
        super().__init__()
        self._lines, self._do, self._lock = lines, do, threading.Lock()

    def write(self, text: str) -> int:
        written = super().write(text)
        with self._lock:
            if self._lines and self._lines <= set(self.getvalue().splitlines()):
                self._lines = set()
                self._do()
        return written


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_ends_all(number: signal.Signals) -> None:
    err = Watched({"[endless] begun", "[endless2] begun"}, lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(signal.SIGTERM)
    words = {name: ["--device=endless", "--output=x"] for name in ("endless", "endless2")}
    with pytest.raises(KeyboardInterrupt):
        run_on_each(words, err, CHILD)
    said = err.getvalue().splitlines()
    assert "[endless] flashneuron: interrupted" in said
    assert "[endless2] flashneuron: interrupted" in said
    assert signal.getsignal(signal.SIGTERM) is before


def test_one_that_does_not_end_when_interrupted_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_devices, "_PATIENCE_S", 0)
    err = Watched({"[a] begun"}, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run_on_each({"a": ["--device=stubborn", "--output=x"]}, err, CHILD)


@pytest.mark.parametrize(
    ("devices", "says"),
    [
        (["a,,b"], "--device: expected a device"),
        ([""], "--device: expected a device"),
        (["a,b", "a"], "--device a is there twice"),
    ],
)
def test_nonsense_is_refused_before_anything_starts(devices: list[str], says: str) -> None:
    done = profile(*[word for name in devices for word in ("--device", name)])
    assert isinstance(done.exception, InputError)
    assert says in str(done.exception)
    assert "[" not in done.stderr


def test_folders_of_devices_with_like_names_differ() -> None:
    names = folder_names(["127.0.0.1:5038", "127.0.0.1-5038", "usb:x", "...", "€"])
    assert names["127.0.0.1:5038"] == "127.0.0.1-5038"
    assert len(set(names.values())) == len(names)
    assert all(name.strip(".") and "/" not in name for name in names.values())


def test_a_command_is_said_again_with_all_that_was_asked() -> None:
    asked = [
        str(TINY), "--ram", "24M,32M", "--ladder", "-p", "-x 'y'\n", "--repeat", "2", "--device", "a,b", "--seed", "7",
        "--prompt-tokens", "3", "--cool-down", "0",
    ]  # fmt: skip
    ctx = command.make_context("profile", list(asked))
    words = arguments_of(ctx, {"devices": ["a"], "output": Path("out/a"), "style": "files"})
    assert words[0] == "profile"
    again = command.make_context("profile", words[1:])
    assert isinstance(again, click.Context)
    changed = {"devices": ("a",), "output": Path("out/a"), "style": "files"}
    assert again.params == {**ctx.params, **changed}
