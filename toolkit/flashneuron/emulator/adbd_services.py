"""The services of the small adbd: commands, file transfer (AOSP, packages/modules/adb: SYNC.TXT, shell_protocol.h)."""

from __future__ import annotations

import errno
import os
import stat
import struct
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO, Protocol

_REQUEST = struct.Struct("<4sI")
_FRAME = struct.Struct("<BI")
_CLOSE_STDIN = 4
_PHONES_FOLDER = "/data/local/tmp"  # which commands may name; ours takes its place
_MAX_DATA = 64 * 1024
SERVICES = {"sync", "shell", "exec"}
_MAX_PATH = 1024


class EndOfStream(Exception):
    """The other end has closed it."""


class Stream(Protocol):
    def read(self, size: int) -> bytes:
        """Exactly so many bytes. Raises EndOfStream."""
        ...

    def read_some(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...


def serve_service(stream: Stream, service: str, folder: Path, full_after: int | None, read_only: bool) -> None:
    """Returns when the stream is to be closed."""
    kind, _, command = service.partition(":")
    if kind == "sync":
        _Sync(stream, folder, full_after, read_only).serve()
    elif kind.startswith("shell,v2"):
        _shell_v2(stream, command, folder)
    elif kind in ("exec", "shell") or kind.startswith("shell,"):
        _plain(stream, command, folder)


def _start(command: str, folder: Path, stderr: int) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    shell = ["/bin/sh", "-c", command.replace(_PHONES_FOLDER, str(folder))]
    return subprocess.Popen(shell, stdin=pipe, stdout=pipe, stderr=stderr, cwd=folder, start_new_session=True)


def _plain(stream: Stream, command: str, folder: Path) -> None:
    with _start(command, folder, subprocess.STDOUT) as child:
        threading.Thread(target=_feed_plain, args=(stream, child), daemon=True).start()
        assert child.stdout is not None
        while data := os.read(child.stdout.fileno(), 1 << 16):
            stream.write(data)


def _feed_plain(stream: Stream, child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    try:
        while True:
            os.write(child.stdin.fileno(), stream.read_some())
    except (OSError, EndOfStream):
        child.kill()


def _shell_v2(stream: Stream, command: str, folder: Path) -> None:
    with _start(command, folder, subprocess.PIPE) as child:
        lock = threading.Lock()

        def frame(kind: int, data: bytes) -> None:
            with lock:
                stream.write(_FRAME.pack(kind, len(data)) + data)

        def carry(kind: int, source: IO[bytes]) -> None:
            with suppress(EndOfStream):
                while data := os.read(source.fileno(), 1 << 15):
                    frame(kind, data)

        assert child.stdout is not None
        assert child.stderr is not None
        threading.Thread(target=_feed_frames, args=(stream, child), daemon=True).start()
        errors = threading.Thread(target=carry, args=(2, child.stderr), daemon=True)
        errors.start()
        carry(1, child.stdout)
        errors.join()
        code = child.wait()
        frame(3, bytes([code if code >= 0 else 128 - code]))


def _feed_frames(stream: Stream, child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    try:
        while True:
            kind, size = _FRAME.unpack(stream.read(_FRAME.size))
            data = stream.read(size)
            if kind == 0:
                os.write(child.stdin.fileno(), data)
            elif kind == _CLOSE_STDIN:
                child.stdin.close()
    except (OSError, ValueError, EndOfStream):
        with suppress(OSError):
            os.killpg(child.pid, 1)  # as the real one: its children are hung up on


class _Sync:
    def __init__(self, stream: Stream, folder: Path, full_after: int | None, read_only: bool) -> None:
        self._stream = stream
        self._folder = folder
        self._room = full_after
        self._read_only = read_only

    def serve(self) -> None:
        while True:
            request, size = _REQUEST.unpack(self._stream.read(_REQUEST.size))
            if size > _MAX_PATH:
                self._fail("path too long")
                return
            name = self._stream.read(size).decode("utf-8", "surrogateescape")
            if request == b"STAT":
                self._stream.write(b"STAT" + struct.pack("<3I", *self._old_stat(name)))
            elif request in (b"STA2", b"LST2"):
                self._stream.write(request + self._stat(name, follow=request == b"STA2"))
            elif request == b"LIST":
                self._list(name)
            elif request == b"SEND":
                if not self._receive(name):
                    return
            elif request == b"RECV":
                self._send(name)
            else:
                if request != b"QUIT":
                    self._fail(f"unknown command {int.from_bytes(request, 'little'):08x}")
                return

    def _old_stat(self, name: str) -> tuple[int, int, int]:
        try:
            facts = self._path(name).lstat()
        except OSError:
            return 0, 0, 0
        return facts.st_mode, facts.st_size & 0xFFFFFFFF, int(facts.st_mtime)

    def _stat(self, name: str, follow: bool) -> bytes:
        form = struct.Struct("<IQQ4IQ3q")
        try:
            f = self._path(name).stat(follow_symlinks=follow)
        except OSError as error:
            return form.pack(error.errno or 0, *[0] * 10)
        times = int(f.st_atime), int(f.st_mtime), int(f.st_ctime)
        return form.pack(0, f.st_dev, f.st_ino, f.st_mode, f.st_nlink, f.st_uid, f.st_gid, f.st_size, *times)

    def _list(self, name: str) -> None:
        with suppress(OSError):
            path = self._path(name)
            for entry in [".", "..", *(each.name for each in path.iterdir())]:
                facts, raw = (path / entry).lstat(), os.fsencode(entry)
                size = facts.st_size & 0xFFFFFFFF
                self._stream.write(
                    struct.pack("<4s4I", b"DENT", facts.st_mode, size, int(facts.st_mtime), len(raw)) + raw
                )
        self._stream.write(struct.pack("<4s4I", b"DONE", 0, 0, 0, 0))

    def _send(self, name: str) -> None:
        try:
            with self._path(name).open("rb") as file:
                while data := file.read(_MAX_DATA):
                    self._stream.write(_REQUEST.pack(b"DATA", len(data)) + data)
        except IsADirectoryError:
            self._fail("read failed: Is a directory")
        except OSError as error:
            self._fail(f"open failed: {error.strerror}")
        else:
            self._stream.write(_REQUEST.pack(b"DONE", 0))

    def _receive(self, target: str) -> bool:
        """Takes the whole file, also one that it cannot write, and then says how it went."""
        name, _, mode = target.rpartition(",")
        path, reason = self._path(name), ""
        try:
            file: BinaryIO | None = self._create(path)
        except OSError as error:
            file, reason = None, f"couldn't create file: {error.strerror}"
        whole = False
        try:
            while True:
                kind, size = _REQUEST.unpack(self._stream.read(_REQUEST.size))
                if kind == b"DONE":
                    whole = not reason
                    break
                if kind != b"DATA" or size > _MAX_DATA:
                    reason = "invalid data message"
                    break
                data = self._stream.read(size)
                if file and not reason:
                    reason = self._write(file, data)
        finally:
            if file:
                file.close()
                if not whole:
                    path.unlink(missing_ok=True)
        if reason:
            self._fail(reason)
            return bool(kind == b"DONE")
        owner = int(mode) & 0o777
        path.chmod(owner | (owner >> 3 & 0o70) | (owner >> 6 & 0o7))
        os.utime(path, (size, size))
        self._stream.write(_REQUEST.pack(b"OKAY", 0))
        return True

    def _create(self, path: Path) -> BinaryIO:
        if self._read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if not stat.S_ISDIR(self._old_stat(str(path))[0]):
            path.unlink(missing_ok=True)
        for parent in [each for each in reversed(path.parents) if not each.exists()]:
            parent.mkdir()
            parent.chmod(0o775)
        return path.open("xb" if not path.is_dir() else "wb")

    def _write(self, file: BinaryIO, data: bytes) -> str:
        if self._room is not None:
            self._room -= len(data)
            if self._room < 0:
                return "write failed: No space left on device"
        file.write(data)
        return ""

    def _path(self, name: str) -> Path:
        path = Path(name)
        if not path.is_absolute() or not Path(os.path.normpath(path)).is_relative_to(self._folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return path

    def _fail(self, reason: str) -> None:
        text = reason.encode()
        self._stream.write(_REQUEST.pack(b"FAIL", len(text)) + text)
