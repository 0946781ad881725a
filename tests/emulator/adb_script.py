"""One client's conversation with an adbd, as a transcript that two daemons can be compared by.

Normalised, because it must differ:
- the base folder is written BASE: each daemon has its own;
- of STA2's answer only error, mode, size and time of change remain: the rest is the file system's;
- in listings times are left out (folders have the hour of the test), ".." (it lies outside) and the size of ".";
- of the features only those our client asks for count: the real adbd has services that the small one has no use for.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import PurePosixPath

from flashneuron.device import adb_sync
from flashneuron.device.link import Connect, Link
from flashneuron.device.packets import CLSE, OKAY, OPEN, WRTE
from flashneuron.device.shell_frames import FrameDecoder
from flashneuron.device.transport import RepairedTcpTransport
from flashneuron.device.wire import Wire
from flashneuron.errors import DeviceError

SIZES = (0, 1, 4096, 65535, 65536, 65537, 300_000)
Transcript = list[tuple[str, object]]


def converse(connect: Connect, base: PurePosixPath) -> Transcript:
    """`base` is an empty folder of the device that may be written to."""
    transcript: Transcript = []

    def note(what: str, ask: Callable[[], object]) -> None:
        try:
            found = ask()
        except DeviceError as error:
            found = f"DeviceError: {error}"
        if isinstance(found, str):
            found = found.replace(str(base), "BASE")
        transcript.append((what, found))

    for size in SIZES:
        note(
            f"push {size}",
            lambda size=size: push(
                connect,
                base / "new" / f"f{size}",
                bytes(range(256)) * (size // 256) + b"x" * (size % 256),
            ),
        )
        note(f"stat {size}", lambda size=size: stat(connect, b"STAT", base / "new" / f"f{size}"))
        note(f"stat2 {size}", lambda size=size: stat(connect, b"STA2", base / "new" / f"f{size}"))
        note(f"pull {size}", lambda size=size: pull(connect, base / "new" / f"f{size}"))
    note("push over", lambda: push(connect, base / "new" / "f1", b"over", 0o400))
    note("pull over", lambda: pull(connect, base / "new" / "f1"))
    note("modes", lambda: [stat(connect, b"STAT", base / "new" / name) for name in ("f1", "f4096")])
    note("push to a folder", lambda: push(connect, base / "new", b"x" * 70_000))
    note("push below a file", lambda: push(connect, base / "new" / "f1" / "x", b"x"))
    note("stat of nothing", lambda: [stat(connect, kind, base / "nothing") for kind in (b"STAT", b"STA2", b"LST2")])
    note("stat of a folder", lambda: stat(connect, b"STAT", base / "new")[0])
    note("pull of nothing", lambda: pull(connect, base / "nothing"))
    note("pull of a folder", lambda: pull(connect, base / "new"))
    note("list", lambda: listing(connect, base / "new"))
    note("list of nothing", lambda: listing(connect, base / "nothing"))
    note("a path too long", lambda: pull(connect, base / ("x" * 2000)))
    for command in (
        "exit 0",
        "exit 7",
        "kill -9 $$",
        "printf 'out\\000\\r\\n'; printf err >&2; exit 3",
        "nonsense-command 2> /dev/null",
    ):
        note(f"shell {command}", lambda command=command: shell(connect, command))
    note("much output", lambda: shell(connect, "head -c 300000 /dev/zero"))
    note("stdin", lambda: shell(connect, "cat; echo end", b"given\n"))
    note("exec", lambda: plain(connect, "exec:printf 'raw\\r\\n'; printf err >&2"))
    note("no such service", lambda: plain(connect, "nosuchservice:"))
    note("two files in one session", lambda: two_files(connect, base / "two"))
    return transcript


def converse_in_packets(port: int) -> Transcript:
    """The handshake, a service that is not there, packets of streams that never were, a command after all that."""
    wire = Wire(RepairedTcpTransport("127.0.0.1", port), "device")
    transcript: Transcript = [
        ("most data", wire.max_data),
        ("features", sorted({"shell_v2", "stat_v2"} & wire.features)),
    ]
    try:
        wire.send(OPEN, 5, 0, b"nosuchservice:\0")
        answer = wire.receive(10)
        transcript.append(("refused", (answer.command, answer.arg0, answer.arg1)))
        for command in (OKAY, WRTE, CLSE):
            wire.send(command, 77, 4_000_000, b"stray" if command == WRTE else b"")
        wire.send(OPEN, 6, 0, b"exec:echo still here\0")
        said = b""
        while (answer := wire.receive(10)).command != CLSE or answer.arg1 != 6:
            said += answer.data
            if answer.command == WRTE:
                wire.send(OKAY, 6, answer.arg0)
            elif answer.arg1 != 6:
                transcript.append(("to a stray packet", (answer.command, answer.arg0, answer.arg1)))
        transcript.append(("said", said))
    finally:
        wire.close()
    return transcript


def push(connect: Connect, path: PurePosixPath, data: bytes, mode: int = 0o644) -> str:
    with closing(connect()) as link:
        adb_sync.start(link)
        adb_sync.send(link, io.BytesIO(data), path, mode, 1_700_000_000, None)
    return "OKAY"


def pull(connect: Connect, path: PurePosixPath) -> bytes:
    with closing(connect()) as link:
        adb_sync.start(link)
        return b"".join(adb_sync.receive(link, path))


def stat(connect: Connect, kind: bytes, path: PurePosixPath) -> tuple[int, ...]:
    """What does not depend on the file system: STAT's mode, size, time; STA2's error, mode, size, time."""
    with sync(connect) as (link, read):
        name = str(path).encode()
        link.write(struct.pack("<4sI", kind, len(name)) + name, 10)
        assert read(4) == kind
        if kind == b"STAT":
            return struct.unpack("<3I", read(12))
        found = struct.unpack("<IQQ4IQ3q", read(68))
        return found[0], found[3], found[7], found[9]


def listing(connect: Connect, path: PurePosixPath) -> list[tuple[str, int, int]]:
    found = []
    with sync(connect) as (link, read):
        name = str(path).encode()
        link.write(struct.pack("<4sI", b"LIST", len(name)) + name, 10)
        while True:
            kind, mode, size, _, length = struct.unpack("<4s4I", read(20))
            if kind == b"DONE":
                return sorted(found)
            entry = read(length).decode()
            if entry != "..":  # which lies outside
                found.append((entry, mode, 0 if entry == "." else size))


def two_files(connect: Connect, path: PurePosixPath) -> list[bytes]:
    """A session of many requests: two files, one of which cannot be written, and a look at both."""
    answers = []
    with sync(connect) as (link, read):
        for target in (f"{path}/a,33188", f"{path}/b,33188"):
            raw = target.encode()
            link.write(struct.pack("<4sI", b"SEND", len(raw)) + raw, 10)
            link.write(struct.pack("<4sI", b"DATA", 3) + b"abc" + struct.pack("<4sI", b"DONE", 7), 10)
            answers.append(read(8))
        link.write(struct.pack("<4sI", b"QUIT", 0), 10)
        answers.append(link.read(10) or b"closed")
    return answers


def shell(connect: Connect, command: str, stdin: bytes = b"") -> tuple[bytes, bytes, list[int]]:
    decoder, parts = FrameDecoder(), list[tuple[int, bytes]]()
    with closing(connect()) as link:
        link.open(b"shell,v2,raw:" + command.encode())
        if stdin:
            link.write(struct.pack("<BI", 0, len(stdin)) + stdin, 10)
            link.write(struct.pack("<BI", 4, 0), 10)
        while data := link.read(20):
            parts += decoder.feed(data)
    out, err = (b"".join(data for kind, data in parts if kind == wanted) for wanted in (1, 2))
    return out, err, [data[0] for kind, data in parts if kind == 3]


def plain(connect: Connect, service: str) -> bytes:
    found = b""
    with closing(connect()) as link:
        link.open(service.encode())
        while data := link.read(20):
            found += data
    return found


@contextmanager
def sync(connect: Connect) -> Iterator[tuple[Link, Callable[[int], bytes]]]:
    buffer = bytearray()
    with closing(connect()) as link:
        link.open(b"sync:")

        def read(size: int) -> bytes:
            while len(buffer) < size:
                data = link.read(10)
                assert data is not None, "the stream has ended"
                buffer.extend(data)
            data = bytes(buffer[:size])
            del buffer[:size]
            return data

        yield link, read
