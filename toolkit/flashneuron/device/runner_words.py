"""What a runner says, and what its silence means. Pure."""

from __future__ import annotations

import json
import signal
from typing import Any

from flashneuron.device.shell_result import one_line
from flashneuron.errors import DeviceError, RunnerError

_STDERR_LINES = 3


def is_event(line: bytes) -> bool:
    """A whole line. A part of one is none: it lacks the object's end."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def parse_event(line: bytes) -> dict[str, Any]:
    """One line of the runner's stdout. Raises RunnerError if it is an `error` event."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise DeviceError(f"the runner printed what is no event: {one_line(line[:200].decode('utf-8', 'replace'))}")
    if event["event"] == "error":
        detail = event.get("detail")
        message = one_line(str(event.get("message", "the runner gave no reason")))
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
