"""A device behind adb over TCP: every stream has a connection of its own."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path, PurePosixPath
from types import TracebackType

from flashneuron.device import adb_sync
from flashneuron.device.keys import load_signers
from flashneuron.device.link import AdbLink
from flashneuron.device.protocol import PHONE_ROOT, DeviceKind, RunningCommand, ShellResult
from flashneuron.device.quote import quote_argv
from flashneuron.device.shell_frames import EXIT, STDERR, STDOUT, FrameDecoder
from flashneuron.device.transport import RepairedTcpTransport
from flashneuron.errors import DeviceError
from flashneuron.progress import Advance

_STDERR_KEPT = 64 * 1024


class AdbDevice:
    """See protocol.Device. Nothing is sent before the first call."""

    kind: DeviceKind = "adb"

    def __init__(self, host: str, port: int, root: PurePosixPath = PHONE_ROOT) -> None:
        self._host = host
        self._port = port
        self.name = f"{host}:{port}"
        self.root = root

    def shell(self, argv: Sequence[str], *, stdin: PurePosixPath | None = None, timeout_s: float = 60) -> ShellResult:
        output = {STDOUT: bytearray(), STDERR: bytearray()}
        deadline = time.monotonic() + timeout_s
        decoder = FrameDecoder()
        with closing(self._connect()) as link:
            link.open(b"shell,v2,raw:" + quote_argv(argv, stdin).encode())
            while (left_s := deadline - time.monotonic()) > 0:
                data = link.read(left_s)
                if data is None:
                    raise DeviceError(f"{self.name}: the shell ended without an exit code")
                for kind, payload in decoder.feed(data):
                    if kind == EXIT:
                        return ShellResult(bytes(output[STDOUT]), bytes(output[STDERR]), payload[0])
                    if kind in output:
                        output[kind] += payload
        raise DeviceError(f"{self.name}: {argv[0]} did not end within {timeout_s:g} s")

    def stream(self, argv: Sequence[str], *, stdin: PurePosixPath | None = None) -> RunningCommand:
        return _AdbCommand(self, self._connect(), quote_argv(argv, stdin))

    def push(self, local: Path, remote: PurePosixPath, advance: Advance | None = None) -> None:
        try:
            with local.open("rb") as source, closing(self._connect()) as link:
                facts = os.fstat(source.fileno())
                adb_sync.send(link, source, remote, facts.st_mode, int(facts.st_mtime), advance)
        except OSError as error:
            raise DeviceError(f"cannot read {local}: {error.strerror}") from error

    def write(self, data: bytes, remote: PurePosixPath) -> None:
        with closing(self._connect()) as link:
            adb_sync.send(link, io.BytesIO(data), remote, 0o644, int(time.time()), None)

    def pull(self, remote: PurePosixPath, local: Path) -> None:
        partial = local.with_name(local.name + ".part")
        try:
            with partial.open("wb") as target, closing(self._connect()) as link:
                for data in adb_sync.receive(link, remote):
                    target.write(data)
            partial.replace(local)
        except OSError as error:
            raise DeviceError(f"cannot write {local}: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)

    def close(self) -> None:
        pass

    def _connect(self) -> AdbLink:
        return AdbLink(RepairedTcpTransport(self._host, self._port), self.name, load_signers)


class _AdbCommand:
    """A command on a link of its own. The first line that the shell prints is the process's number."""

    def __init__(self, device: AdbDevice, link: AdbLink, command: str) -> None:
        self._device = device
        self._link = link
        self._decoder = FrameDecoder()
        self._stderr = bytearray()
        self._exit_code: int | None = None
        try:
            link.open(b"shell,v2,raw:echo $$; " + command.encode())
            self._lines = self._read_lines()
            self._pid = next(self._lines).decode()
        except BaseException:
            link.close()
            raise

    def __enter__(self) -> RunningCommand:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._link.is_gone:
            with suppress(DeviceError):
                self.kill()
        self._link.close()

    def __iter__(self) -> Iterator[bytes]:
        return self._lines

    @property
    def stderr(self) -> bytes:
        return bytes(self._stderr)

    @property
    def exit_code(self) -> int | None:
        return self._exit_code

    def kill(self) -> None:
        if self._exit_code is None:
            self._device.shell(["kill", "-9", f"-{self._pid}"])  # adbd makes it a group with its children

    def _read_lines(self) -> Iterator[bytes]:
        line = bytearray()
        while self._exit_code is None:
            data = self._link.read(None)
            if data is None:
                raise DeviceError(f"{self._device.name}: the command's stream ended without an exit code")
            for kind, payload in self._decoder.feed(data):
                if kind == STDOUT:
                    *lines, rest = (bytes(line) + payload).split(b"\n")
                    line[:] = rest
                    yield from lines
                elif kind == STDERR:
                    self._stderr += payload
                    del self._stderr[:-_STDERR_KEPT]
                elif kind == EXIT:
                    self._exit_code = payload[0]
        if line:
            yield bytes(line)
