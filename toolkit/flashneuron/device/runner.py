"""The runner on a device, as the host sees it: a verb goes in, events come out (PROTOCOL.md)."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

import flashneuron
from flashneuron.device.protocol import Device
from flashneuron.errors import DeviceError, RunnerError

RUNNER = "flashneuron-runner"
_STDERR_LINES = 3


class Runner:
    """A runner of this version that lies in `folder` on `device`."""

    def __init__(self, device: Device, folder: PurePosixPath) -> None:
        self.device = device
        self.folder = folder

    def events(self, verb: str, keys: Mapping[str, str], stdin: bytes = b"") -> Iterator[dict[str, Any]]:
        """Run `verb` and yield its events as they come; leaving the iterator early ends the runner.

        Raises RunnerError for its `error` event, DeviceError if it dies without one or the device goes away.
        """
        argv = [str(self.folder / RUNNER), verb]
        argv += [] if verb == "version" else [f"version={flashneuron.__version__}"]
        argv += [f"{key}={value}" for key, value in keys.items()]
        source = self.device.root / "tmp" / f"{uuid.uuid4().hex}.stdin" if stdin else None
        try:
            if source:
                self.device.write(stdin, source)
            with self.device.stream(argv, stdin=source) as running:
                for line in running:
                    yield parse_event(line)
                if running.exit_code != 0:
                    raise DeviceError(explain_death(verb, running.exit_code, running.stderr))
        finally:
            if source:
                with suppress(DeviceError):
                    self.device.shell(["rm", "-f", str(source)])


def parse_event(line: bytes) -> dict[str, Any]:
    """One line of the runner's stdout. Raises RunnerError if it is an `error` event."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise DeviceError(f"the runner printed what is no event: {line[:200].decode('utf-8', 'replace')}")
    if event["event"] == "error":
        detail = event.get("detail")
        message = str(event.get("message", "the runner gave no reason")).replace("\n", " ")
        raise RunnerError(str(event.get("code", "internal")), message, detail if isinstance(detail, dict) else None)
    return event


def explain_death(verb: str, exit_code: int | None, stderr: bytes) -> str:
    """One line on a runner that ended without saying why."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    said = f"; its last words: {' | '.join(lines[-_STDERR_LINES:])}" if lines else ""
    if exit_code == 128 + signal.SIGKILL:
        return f"the device killed the runner ({verb}), as it does when memory runs out; give it a smaller --ram{said}"
    if exit_code is not None and exit_code > 128:
        number = exit_code - 128
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return f"the runner ({verb}) crashed with {name}{said}"
    return f"the runner ({verb}) ended with exit code {exit_code} and no result{said}"
