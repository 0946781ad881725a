"""A device behind adb: a link (link.py) for each command and file."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from types import TracebackType

from flashneuron.device import adb_sync
from flashneuron.device.link import Connect, Link
from flashneuron.device.protocol import PHONE_ROOT, DeviceKind, Push, RunningCommand, ShellResult
from flashneuron.device.quote import guard, quote_argv
from flashneuron.device.shell_frames import EXIT, STDERR, STDOUT, FrameDecoder
from flashneuron.device.shell_trailer import TrailerDecoder, new_mark, wrap
from flashneuron.device.tcp_link import connect_tcp
from flashneuron.device.wire import Timeouts
from flashneuron.errors import DeviceError, LinkLost
from flashneuron.progress import Advance

_STDERR_KEPT = 64 * 1024


class AdbDevice:
    """See protocol.Device. Nothing is sent before the first call. `parallel` is how many links at once are of use."""

    kind: DeviceKind = "adb"

    def __init__(
        self,
        name: str,
        connect: Connect,
        root: PurePosixPath = PHONE_ROOT,
        parallel: int = 1,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.root = root
        self.parallel_streams = parallel
        self._connect = connect
        self.close = close

    def shell(self, argv: Sequence[str], *, stdin: PurePosixPath | None = None, timeout_s: float = 60) -> ShellResult:
        output = {STDOUT: bytearray(), STDERR: bytearray()}
        deadline = time.monotonic() + timeout_s
        with closing(self._connect()) as link:
            decoder = _open_shell(link, quote_argv(argv, stdin))
            while (left_s := deadline - time.monotonic()) > 0:
                data = link.read(left_s)
                if data is None:
                    raise DeviceError(f"{self.name}: the shell ended without an exit code")
                for kind, payload in decoder.feed(data):
                    if kind == EXIT and payload:
                        return ShellResult(bytes(output[STDOUT]), bytes(output[STDERR]), payload[0])
                    if kind in output:
                        output[kind] += payload
        raise DeviceError(f"{self.name}: {argv[0]} did not end within {timeout_s:g} s")

    def stream(self, argv: Sequence[str], *, stdin: PurePosixPath | None = None) -> RunningCommand:
        return _AdbCommand(self, self._connect(), quote_argv(argv, stdin))

    @contextmanager
    def pushing(self) -> Iterator[Push]:
        with closing(self._connect()) as link:
            adb_sync.start(link)
            yield partial(_push, link)

    def push(self, local: Path, remote: PurePosixPath, advance: Advance | None = None) -> None:
        with self.pushing() as push:
            push(local, remote, advance)

    def write(self, data: bytes, remote: PurePosixPath) -> None:
        with closing(self._connect()) as link:
            adb_sync.start(link)
            adb_sync.send(link, io.BytesIO(data), remote, 0o644, int(time.time()), None)

    def pull(self, remote: PurePosixPath, local: Path) -> None:
        partial = local.with_name(local.name + ".part")
        try:
            with partial.open("wb") as target, closing(self._connect()) as link:
                adb_sync.start(link)
                for data in adb_sync.receive(link, remote):
                    target.write(data)
            partial.replace(local)
        except OSError as error:
            raise DeviceError(f"cannot write {local}: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)


def tcp_device(host: str, port: int, root: PurePosixPath = PHONE_ROOT, timeouts: Timeouts | None = None) -> AdbDevice:
    """The adbd that listens there. One stream sends while another waits for the device; more were slower on 2 cores."""
    name = f"{host}:{port}"
    return AdbDevice(name, lambda: connect_tcp(host, port, name, timeouts), root, parallel=2)


def _push(link: Link, local: Path, remote: PurePosixPath, advance: Advance | None = None) -> None:
    try:
        with local.open("rb") as source:
            facts = os.fstat(source.fileno())
            adb_sync.send(link, source, remote, facts.st_mode, int(facts.st_mtime), advance)
    except OSError as error:
        raise DeviceError(f"cannot read {local}: {error.strerror}") from error


def _open_shell(link: Link, command: str) -> FrameDecoder | TrailerDecoder:
    """Starts `command`; what comes back is for the decoder."""
    if "shell_v2" in link.features:
        link.open(b"shell,v2,raw:" + guard(command).encode())
        return FrameDecoder()
    mark = new_mark()
    link.open(b"exec:" + wrap(command, mark).encode())
    return TrailerDecoder(mark)


class _AdbCommand:
    """A command on a link of its own. The first line that the shell prints is the process's number, twice."""

    def __init__(self, device: AdbDevice, link: Link, command: str) -> None:
        self._device = device
        self._link = link
        self._stderr = bytearray()
        self._exit_code: int | None = None
        try:
            self._decoder = _open_shell(link, "echo $$ $$; " + command)
            self._lines = self._read_lines()
            self._pid, *again = next(self._lines, b"").decode("ascii", "replace").split() or [""]
            if not self._pid.isdecimal() or again != [self._pid]:  # it will be killed by this number
                raise DeviceError(f"{device.name}: the command did not start as it should; run it again")
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
                raise LinkLost(f"{self._device.name} went away (the command's stream ended without an exit code)")
            for kind, payload in self._decoder.feed(data):
                if kind == STDOUT:
                    *lines, rest = (bytes(line) + payload).split(b"\n")
                    line[:] = rest
                    yield from lines
                elif kind == STDERR:
                    self._stderr += payload
                    del self._stderr[:-_STDERR_KEPT]
                elif kind == EXIT and payload:
                    self._exit_code = payload[0]
        if line:
            yield bytes(line)
