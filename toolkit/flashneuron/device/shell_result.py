"""What a command's failure means to whoever asked for it."""

from __future__ import annotations

from flashneuron.device.protocol import ShellResult
from flashneuron.errors import DeviceError


def check(result: ShellResult, what: str) -> ShellResult:
    """`what` completes "the device could not …"."""
    if result.exit_code != 0:
        said = one_line(result.stderr.decode("utf-8", "replace"), "; ")
        raise DeviceError(f"the device could not {what}: {said or f'exit code {result.exit_code}'}")
    return result


def one_line(text: str, between: str = " ") -> str:
    """A device's words, whose lines may end in any of the ways that there are."""
    return between.join(line.strip() for line in text.splitlines() if line.strip())
