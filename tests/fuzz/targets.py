"""What is fuzzed of the Python package: each target takes any bytes. Whatever comes out but the documented errors is a
finding. `tools/fuzz` feeds them by coverage (atheris); test_replay.py feeds what was found before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from flashneuron.device import adb_sync, packets, parse
from flashneuron.device.adb_server import parse_devices
from flashneuron.device.detached import parse_runs
from flashneuron.device.packets import Data
from flashneuron.device.runner_words import is_event, parse_event
from flashneuron.device.shell_frames import EXIT, STDERR, STDOUT, FrameDecoder
from flashneuron.device.shell_trailer import TrailerDecoder
from flashneuron.device.tcp_link import TcpLink
from flashneuron.device.wire import Wire
from flashneuron.errors import DeviceError, PackageError, RunnerError
from flashneuron.package.ffn_file import FfnShard
from flashneuron.package.manifest import parse_manifest
from flashneuron.package.predictor_file import read_predictor

_BANNER = b"device::features=shell_v2,stat_v2"


class Scripted:
    """A transport whose other end says `incoming`, in pieces of `piece` bytes, and then closes."""

    def __init__(self, incoming: bytes, piece: int) -> None:
        self._incoming = incoming
        self._piece = piece

    def connect(self, transport_timeout_s: float | None) -> None: ...
    def close(self) -> None: ...
    def cut(self) -> None: ...

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
        size = min(numbytes, self._piece)
        data, self._incoming = self._incoming[:size], self._incoming[size:]
        if not data:
            raise ConnectionResetError("it closed the connection")
        return data

    def bulk_write(self, data: Data, transport_timeout_s: float | None) -> int:
        return len(data)


def _packet(command: bytes, arg0: int, arg1: int, data: bytes = b"") -> bytes:
    return packets.pack_header(command, arg0, arg1, data, False) + data


def adb_packets(data: bytes) -> None:
    """Everything that a peer may say from the first byte on."""
    with suppress(DeviceError):
        link = TcpLink(Wire(Scripted(data, 7), "phone"), "phone")
        link.open(b"sync:")
        while link.read(None) is not None:
            link.write(b"x", None)


def adb_sync_answers(data: bytes) -> None:
    """What a device answers to a transfer, packed as it should be."""
    opened = _packet(packets.CNXN, packets.VERSION, 1 << 20, _BANNER) + _packet(packets.OKAY, 7, 1)
    answers = b"".join(_packet(packets.OKAY, 7, 1) for _ in range(4)) + _packet(packets.WRTE, 7, 1, data[:65536])
    ended = _packet(packets.CLSE, 7, 1)
    for use in (
        lambda link: b"".join(adb_sync.receive(link, PurePosixPath("/x"))),
        lambda link: adb_sync.send(link, Path(os.devnull).open("rb"), PurePosixPath("/x"), 0o644, 0, None),  # noqa: SIM115
    ):
        with suppress(DeviceError):
            use(TcpLink(Wire(Scripted(opened + answers + ended, 4096), "phone"), "phone"))


def shell_output(data: bytes) -> None:
    """Both forms in which a command's output comes, cut anywhere."""
    for decoder in (FrameDecoder(), TrailerDecoder("mark")):
        parts, rest, step = [], data, 1 + len(data) % 13
        while rest:
            parts += decoder.feed(rest[:step])
            rest = rest[step:]
        assert sum(len(payload) for _, payload in parts) <= len(data)
        if isinstance(decoder, TrailerDecoder):
            assert {kind for kind, _ in parts} <= {STDOUT, STDERR, EXIT}
            assert sum(kind == EXIT for kind, _ in parts) <= 1


def device_texts(data: bytes) -> None:
    """What commands print becomes facts or nothing, never an error."""
    text = data.decode("utf-8", "replace")
    for read in (
        parse.split_sections, parse.parse_facts, parse.parse_df, parse.parse_properties, parse.parse_meminfo,
        parse.parse_battery, parse.parse_thermal, parse.parse_cpuinfo_model, parse.parse_battery_saver,
        parse.parse_cpu_policies, parse.parse_uptime, parse.parse_load, parse.thermal_level, parse_devices, parse_runs,
    ):  # fmt: skip
        read(text)  # type: ignore[operator]


def runner_events(data: bytes) -> None:
    for line in data.split(b"\n"):
        is_event(line)
        with suppress(DeviceError, RunnerError):
            assert isinstance(parse_event(line)["event"], str)


def manifest(data: bytes) -> None:
    with suppress(PackageError):
        found = parse_manifest(data)
        assert all(".." not in PurePosixPath(entry.path).parts for entry in found.files)


def ffn_header(data: bytes) -> None:
    """4 bytes: the file's size, up to 16 MiB; then what its header begins with."""
    size = int.from_bytes(data[:4], "little") & 0xFFFFFF
    with suppress(PackageError), _as_file(data[4 : 4 + size], size) as path:
        shard = FfnShard.open(path)
        assert shard.records().shape[0] > 0


def predictor(data: bytes) -> None:
    with suppress(PackageError), _as_file(data) as path:
        read_predictor(path)


@contextmanager
def _as_file(data: bytes, size: int | None = None) -> Iterator[Path]:
    descriptor = os.memfd_create("fuzz")
    try:
        os.write(descriptor, data)
        os.truncate(descriptor, len(data) if size is None else size)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        adb_packets, adb_sync_answers, shell_output, device_texts, runner_events, manifest, ffn_header, predictor,
    )
}  # fmt: skip
