"""The one error hierarchy. A message is one line: what is wrong and what to do. Only `cli/` prints it and exits."""

from __future__ import annotations

from typing import Any


class FlashneuronError(Exception):
    """Something failed that a user can act on. `exit_code` is 1: failed while working."""

    exit_code = 1


class InputError(FlashneuronError):
    """An option, path or file was refused before any work. Exit code 2."""

    exit_code = 2


class ModelError(InputError):
    """A model folder cannot be read: not one, incomplete, or of an unsupported family or activation."""


class PackageError(InputError):
    """A model package is missing, newer than this version, truncated or corrupt; the message names the first defect.

    `code` is the runner's code for the same defect (PROTOCOL.md): corrupt, newer_format, unsupported or not_found.
    """

    def __init__(self, message: str, code: str = "corrupt") -> None:
        super().__init__(message)
        self.code = code


class DeviceError(FlashneuronError):
    """A device cannot be found or reached, refused an operation, ran out of space or went away."""


class LinkLost(DeviceError):
    """The device went away in the middle: cable, Wi-Fi, reboot. What runs on it may go on."""


class RunnerError(FlashneuronError):
    """The runner reported an error event (PROTOCOL.md). `code` and `detail` are the event's."""

    def __init__(self, code: str, message: str, detail: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail or {}
        self.exit_code = 2 if code in {"usage", "budget_too_small", "bad_input", "unsupported"} else 1
