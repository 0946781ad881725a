"""What flashneuron needs of a device, be it an Android phone over adb or a folder of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from flashneuron.progress import Advance

DeviceKind = Literal["adb", "host"]

# Where flashneuron keeps everything on a phone: the one place where the shell user may write and execute.
PHONE_ROOT = PurePosixPath("/data/local/tmp/flashneuron")


@dataclass(frozen=True)
class ShellResult:
    """A finished command. `exit_code` is 128 + N where signal N ended it."""

    stdout: bytes
    stderr: bytes
    exit_code: int

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace")


class RunningCommand(AbstractContextManager["RunningCommand"], Protocol):
    """A command that runs on the device. Leaving the block kills it if it still runs.

    Iterating gives stdout's lines as they come, without their newline, and ends when the command does;
    it raises DeviceError at once when the device goes away. Used by one thread; `kill` may come from any.
    """

    def __iter__(self) -> Iterator[bytes]: ...

    @property
    def stderr(self) -> bytes:
        """The end of stderr so far (at most 64 KiB)."""
        ...

    @property
    def exit_code(self) -> int | None:
        """None until the command ended; 128 + N where signal N ended it."""
        ...

    def kill(self) -> None:
        """End the command and its children; no error if it has ended already."""
        ...


class Push(Protocol):
    """See Device.push."""

    def __call__(self, local: Path, remote: PurePosixPath, advance: Advance | None = None) -> None: ...


class Device(Protocol):
    """A device. Each call stands for itself, so threads may share a Device. Every failure is a DeviceError of one line.

    An argv names a program and its arguments, passed on exactly: no shell reads them. `stdin` is a file on the device.
    """

    @property
    def name(self) -> str:
        """What `--device` would say to get this device again."""
        ...

    @property
    def kind(self) -> DeviceKind: ...

    @property
    def parallel_streams(self) -> int:
        """How many transfers at once are faster than one after the other."""
        ...

    @property
    def root(self) -> PurePosixPath:
        """flashneuron's own folder on the device; it may not exist yet."""
        ...

    def shell(self, argv: Sequence[str], *, stdin: PurePosixPath | None = None, timeout_s: float = 60) -> ShellResult:
        """Run a command to its end. A non-zero exit is a result; running longer than `timeout_s` is an error."""
        ...

    def stream(self, argv: Sequence[str], *, stdin: PurePosixPath | None = None) -> RunningCommand:
        """Start a command that may run, and be silent, for any time."""
        ...

    def pushing(self) -> AbstractContextManager[Push]:
        """`push` for many files, which share what each call of it would set up anew. Used by one thread; not after an
        error.
        """
        ...

    def push(self, local: Path, remote: PurePosixPath, advance: Advance | None = None) -> None:
        """Copy a file to the device, with its permission bits, over an existing one; `advance` is called with bytes.

        Not atomic: a failed push may leave a part under `remote`. `sync.py` pushes to temporary names.
        """
        ...

    def write(self, data: bytes, remote: PurePosixPath) -> None:
        """Make a small file with these bytes."""
        ...

    def pull(self, remote: PurePosixPath, local: Path) -> None:
        """Copy a file from the device; on failure `local` is left as it was."""
        ...

    def close(self) -> None: ...
