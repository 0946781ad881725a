"""The packets of adb: 24 bytes of header, then data (AOSP, packages/modules/adb/protocol.txt). Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

CNXN, AUTH, OPEN, OKAY, WRTE, CLSE, STLS = b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE", b"STLS"
AUTH_TOKEN, AUTH_SIGNATURE, AUTH_PUBLIC_KEY = 1, 2, 3

VERSION = 0x01000001  # from this one on neither side sums up data
MAX_DATA = 1024 * 1024
EARLY_MAX_DATA = 4096  # before the handshake told, and of peers that sum up
_COMMANDS = {CNXN, AUTH, OPEN, OKAY, WRTE, CLSE, STLS, b"SYNC"}
_HEADER = struct.Struct("<6I")
HEADER_BYTES = _HEADER.size

Data = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Header:
    """What precedes `data_bytes` bytes of data, whose sum is `data_sum` where the version has sums."""

    command: bytes
    arg0: int
    arg1: int
    data_bytes: int
    data_sum: int


@dataclass(frozen=True)
class Packet:
    command: bytes
    arg0: int
    arg1: int
    data: bytes = b""


def pack_header(command: bytes, arg0: int, arg1: int, data: Data, summed: bool) -> bytes:
    code = int.from_bytes(command, "little")
    return _HEADER.pack(code, arg0, arg1, len(data), data_sum(data) if summed else 0, code ^ 0xFFFFFFFF)


def parse_header(header: bytes) -> Header:
    """Of HEADER_BYTES bytes. Raises ValueError for what no adb peer sends."""
    code, arg0, arg1, size, total, magic = _HEADER.unpack(header)
    command = code.to_bytes(4, "little")
    if magic != code ^ 0xFFFFFFFF or command not in _COMMANDS or size > MAX_DATA:
        raise ValueError("not a packet of adb")
    return Header(command, arg0, arg1, size, total)


def data_sum(data: Data) -> int:
    return sum(memoryview(data).cast("B")) & 0xFFFFFFFF


def features_of(banner: bytes) -> frozenset[str]:
    """Of CNXN's data: `device::ro.product.name=x;features=shell_v2,stat_v2`."""
    for field in banner.rstrip(b"\0").decode("utf-8", "replace").rpartition("::")[2].split(";"):
        name, _, value = field.partition("=")
        if name == "features":
            return frozenset(filter(None, value.split(",")))
    return frozenset()
