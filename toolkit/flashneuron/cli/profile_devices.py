"""One command on several devices at once: a process for each, its lines on stderr with the device's name in front.

Each process has a session of its own, so a terminal's Ctrl+C reaches this one alone, which passes it on once: a second
one would interrupt the processes while they end the runs on their devices.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TextIO

from flashneuron.errors import DeviceError

COMMAND = (sys.executable, "-c", "from flashneuron.cli.main import main; main()")
_PATIENCE_S = 30  # to end the run on a device, which takes a few seconds where it answers


@dataclass(frozen=True)
class Outcome:
    exit_code: int
    stdout: str


def folder_names(devices: Sequence[str]) -> dict[str, str]:
    """By device the name of its folder of runs: no two have the same."""
    found: dict[str, str] = {}
    for device in devices:
        name = plain = re.sub(r"[^A-Za-z0-9._-]+", "-", device).strip(".") or "device"
        number = 2
        while name in found.values():
            name, number = f"{plain}-{number}", number + 1
        found[device] = name
    return found


def run_on_each(
    arguments: Mapping[str, Sequence[str]], err: TextIO, command: Sequence[str] = COMMAND
) -> dict[str, Outcome]:
    """Runs `command` with the arguments of each device to its end, all at once. An interruption ends all of them."""
    lock = threading.Lock()
    children = {device: _Child(device, [*command, *words], err, lock) for device, words in arguments.items()}
    with ExitStack() as stack, _ended_like_ctrl_c():
        for child in children.values():
            stack.callback(child.close)
        try:
            for child in children.values():
                child.start()
            return {device: child.outcome() for device, child in children.items()}
        except KeyboardInterrupt:
            for child in children.values():
                child.interrupt()
            for child in children.values():
                child.wait(_PATIENCE_S)
            raise


def failures(outcomes: Mapping[str, Outcome]) -> DeviceError | None:
    """One line that names the devices that failed."""
    failed = [device for device, outcome in outcomes.items() if outcome.exit_code != 0]
    if not failed:
        return None
    return DeviceError(f"{len(failed)} of {len(outcomes)} devices failed: {', '.join(failed)}; its lines above say why")


class _Child:
    """`close` kills it if it still runs; it may come before `start`."""

    def __init__(self, device: str, command: Sequence[str], err: TextIO, lock: threading.Lock) -> None:
        self._device, self._command = device, command
        self._err, self._lock = err, lock  # lock: of err
        self._stdout = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  closed by close
        self._lines = threading.Thread(target=self._pass_on, daemon=True)
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=self._stdout, stderr=subprocess.PIPE, encoding="utf-8",
            errors="replace", start_new_session=True,
        )  # fmt: skip
        self._lines.start()

    def close(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        if self._lines.is_alive():
            self._lines.join()
        self._stdout.close()

    def _pass_on(self) -> None:
        assert self._process
        assert self._process.stderr
        for line in self._process.stderr:
            with self._lock, suppress(OSError):
                print(f"[{self._device}] {line.rstrip()}", file=self._err, flush=True)

    def outcome(self) -> Outcome:
        """Waits for its end."""
        assert self._process
        code = self._process.wait()
        self._lines.join()
        self._stdout.seek(0)
        return Outcome(code if code >= 0 else 128 - code, self._stdout.read())

    def interrupt(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGINT)

    def wait(self, seconds: float) -> None:
        if self._process:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Within, what ends a program politely interrupts it, so that none of its processes is left behind. SIGINT too,
    which a shell's background jobs ignore, and would have their children ignore.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
