"""adb's file transfer on a link. A refusal carries the device's own words (no space left, permission denied)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

from flashneuron.device.link import Link
from flashneuron.device.shell_result import one_line
from flashneuron.errors import DeviceError
from flashneuron.progress import Advance

_CHUNK = 64 * 1024  # the largest DATA that adbd takes
_HEADER = struct.Struct("<4sI")
_STAT = struct.Struct("<3I")  # mode, size, time
_STAT2 = struct.Struct("<IQQ4IQ3q")  # error, dev, ino, mode, nlink, uid, gid, size, 3 times
_ANSWER_S = 60.0  # flash may take this long to swallow what was sent
_REGULAR_FILE = 0o100000


def start(link: Link) -> None:
    """Begins the file transfer, in which any number of files may be sent."""
    link.open(b"sync:")


def send(link: Link, source: BinaryIO, remote: PurePosixPath, mode: int, mtime: int, advance: Advance | None) -> None:
    """Write a file on the device from `source`; the device makes missing folders. After an error the link is of no use
    any more.
    """
    target = f"{remote},{_REGULAR_FILE | mode & 0o777}".encode()
    link.write(_HEADER.pack(b"SEND", len(target)) + target, _ANSWER_S)
    packet = memoryview(bytearray(link.max_data))
    while filled := _fill(packet, source):
        try:
            link.write(packet[: filled[0]], _ANSWER_S)
        except DeviceError:
            if not link.has_input:  # else it has closed the stream on what it refuses, and says why
                raise
        if link.has_input:  # it answers before the end only to refuse
            break
        if advance:
            advance(filled[1])
    else:
        link.write(_HEADER.pack(b"DONE", mtime), _ANSWER_S)
    reader = _Reader(link)
    answer, size = reader.header()
    if answer != b"OKAY":
        raise DeviceError(f"cannot write {remote} on the device: {reader.text(size)}")


def _fill(packet: memoryview, source: BinaryIO) -> tuple[int, int] | None:
    """As many DATA pieces as fit, read in place: bytes of the packet, and bytes of the file; None at its end."""
    used = total = 0
    while (room := min(_CHUNK, len(packet) - used - _HEADER.size)) > 0:
        start = used + _HEADER.size
        size = source.readinto(packet[start : start + room])  # type: ignore[attr-defined]
        if not size:
            break
        _HEADER.pack_into(packet, used, b"DATA", size)
        used, total = start + size, total + size
    return (used, total) if total else None


def receive(link: Link, remote: PurePosixPath) -> Iterator[bytes]:
    """The bytes of a file on the device. Raises DeviceError if fewer come than the file had at the start."""
    reader = _Reader(link)
    path = str(remote).encode()
    expected, received = _size(link, reader, path), 0
    link.write(_HEADER.pack(b"RECV", len(path)) + path, _ANSWER_S)
    while True:
        answer, size = reader.header()
        if answer == b"DONE":
            break
        if answer != b"DATA" or size > _CHUNK:
            raise DeviceError(f"cannot read {remote} on the device: {reader.text(size)}")
        yield reader.exactly(size)
        received += size
    if received < expected:
        raise DeviceError(f"{remote} on the device has {expected} bytes, {received} came; try again")


def _size(link: Link, reader: _Reader, path: bytes) -> int:
    """Of a file; 0 where there is none. Modulo 2^32 on devices without stat_v2."""
    request = b"STA2" if "stat_v2" in link.features else b"STAT"
    link.write(_HEADER.pack(request, len(path)) + path, _ANSWER_S)
    if reader.exactly(4) != request:
        raise DeviceError("the device does not answer as adb's file transfer does")
    form, place = (_STAT2, 7) if request == b"STA2" else (_STAT, 1)
    return int(form.unpack(reader.exactly(form.size))[place])


class _Reader:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._buffer = bytearray()

    def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = self._link.read(_ANSWER_S)
            if data is None:
                raise DeviceError("the device ended the file transfer in the middle")
            self._buffer += data
        result = bytes(self._buffer[:size])
        del self._buffer[:size]
        return result

    def header(self) -> tuple[bytes, int]:
        answer, size = _HEADER.unpack(self.exactly(_HEADER.size))
        return answer, size

    def text(self, size: int) -> str:
        return one_line(self.exactly(min(size, 4096)).decode("utf-8", "replace"))
