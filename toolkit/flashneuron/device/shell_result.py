"""What a command's failure means to whoever asked for it."""

from __future__ import annotations

from flashneuron.device.protocol import ShellResult
from flashneuron.errors import DeviceError


def check(result: ShellResult, what: str) -> ShellResult:
    """`what` completes "the device could not …"."""
    if result.exit_code != 0:
        said = result.stderr.decode("utf-8", "replace").strip().replace("\n", "; ")
        raise DeviceError(f"the device could not {what}: {said or f'exit code {result.exit_code}'}")
    return result
