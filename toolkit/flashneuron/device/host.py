"""A folder of this machine as a device: the same runner, the same store, no phone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath
from types import TracebackType

from flashneuron.device.protocol import DeviceKind, Push, RunningCommand, ShellResult
from flashneuron.device.quote import quote_argv
from flashneuron.errors import DeviceError
from flashneuron.progress import Advance

_CHUNK = 4 * 1024 * 1024
_STDERR_KEPT = 64 * 1024


def cache_folder() -> Path:
    """What flashneuron keeps for this user and could make again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flashneuron"


def default_root() -> Path:
    return cache_folder() / "host-device"


class HostDevice:
    """See protocol.Device. Commands run without a RAM cap or flash limits other than this machine's own."""

    kind: DeviceKind = "host"
    name = "host"
    parallel_streams = 1  # the disk is the bottleneck

    def __init__(self, root: Path | None = None) -> None:
        self.root = PurePosixPath((root or default_root()).absolute())

    def shell(self, argv: Sequence[str], *, stdin: PurePosixPath | None = None, timeout_s: float = 60) -> ShellResult:
        try:
            done = subprocess.run(_command(argv, stdin), capture_output=True, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise DeviceError(f"{self.name}: {argv[0]} did not end within {timeout_s:g} s") from None
        return ShellResult(done.stdout, done.stderr, _exit_code(done.returncode))

    def stream(self, argv: Sequence[str], *, stdin: PurePosixPath | None = None) -> RunningCommand:
        return _HostCommand(_command(argv, stdin))

    def pushing(self) -> AbstractContextManager[Push]:
        return nullcontext(self.push)

    def push(self, local: Path, remote: PurePosixPath, advance: Advance | None = None) -> None:
        try:
            Path(remote).parent.mkdir(parents=True, exist_ok=True)
            with local.open("rb") as source, Path(remote).open("wb") as target:
                while data := source.read(_CHUNK):
                    target.write(data)
                    if advance:
                        advance(len(data))
            shutil.copymode(local, remote)
        except OSError as error:
            raise DeviceError(f"cannot copy {local} to {remote}: {error.strerror}") from error

    def write(self, data: bytes, remote: PurePosixPath) -> None:
        try:
            Path(remote).parent.mkdir(parents=True, exist_ok=True)
            Path(remote).write_bytes(data)
        except OSError as error:
            raise DeviceError(f"cannot write {remote}: {error.strerror}") from error

    def pull(self, remote: PurePosixPath, local: Path) -> None:
        partial = local.with_name(local.name + ".part")
        try:
            shutil.copyfile(remote, partial)
            partial.replace(local)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise DeviceError(f"cannot copy {remote} to {local}: {error.strerror}") from error

    def close(self) -> None:
        pass


def _command(argv: Sequence[str], stdin: PurePosixPath | None) -> list[str]:
    """Through a shell, as on a phone: what is not found, and what is refused, then shows in the same way."""
    return ["/bin/sh", "-c", quote_argv(argv, stdin)]


def _exit_code(returncode: int) -> int:
    return 128 - returncode if returncode < 0 else returncode


class _HostCommand:
    def __init__(self, command: list[str]) -> None:
        self._stderr_file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by __exit__
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._stderr_file, start_new_session=True
        )

    def __enter__(self) -> RunningCommand:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._process.__exit__(kind, error, trace)
        self._stderr_file.close()

    def __iter__(self) -> Iterator[bytes]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield line.removesuffix(b"\n")
        self._process.wait()

    @property
    def stderr(self) -> bytes:
        # pread, because the command writes through the same file offset
        descriptor = self._stderr_file.fileno()
        return os.pread(descriptor, _STDERR_KEPT, max(0, os.fstat(descriptor).st_size - _STDERR_KEPT))

    @property
    def exit_code(self) -> int | None:
        code = self._process.poll()
        return None if code is None else _exit_code(code)

    def kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
