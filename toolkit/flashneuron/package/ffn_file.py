"""FFN shards: one fixed-size record per neuron behind a 16 KiB header. Bytes: FORMAT.md, "FFN shard"."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from flashneuron.errors import PackageError
from flashneuron.package.atomic import atomic_path
from flashneuron.package.layout import DTYPE_CODES, DTYPE_NAMES, DType, bundle_rows, numpy_dtype, round_up, row_bytes

MAGIC = b"FNFFN\0\0"
VERSION = 1
HEADER_BYTES = 16384
MAX_SHARD_BYTES = 256 << 20
RECORD_ALIGNMENT = 64
_FIELDS = struct.Struct("<8s11I")
_WRITE_BYTES = 8 << 20  # records are converted and written in blocks of about this size

Rows = Callable[[int, int], np.ndarray[Any, Any]]


class Part(IntEnum):
    """What a record holds: (gate row,) up row and down column, or one of them."""

    BUNDLE = 0
    UP = 1
    DOWN = 2
    GATE = 3

    def rows(self, gated: bool) -> int:
        """Rows of hidden_size elements in a record."""
        return bundle_rows(gated) if self is Part.BUNDLE else 1


@dataclass(frozen=True)
class FfnGeometry:
    """Where the records of one layer lie: place p is record p % neurons_per_shard of shard p // neurons_per_shard. A
    neuron's place is its index, unless the variant has places.
    """

    part: Part
    dtype: DType
    hidden_size: int
    ffn_size: int
    neurons_per_shard: int
    rows: int  # of hidden_size elements in a record: Part.rows

    @property
    def record_bytes(self) -> int:
        return self.rows * row_bytes(self.dtype, self.hidden_size)

    @property
    def stride(self) -> int:
        return round_up(self.record_bytes, RECORD_ALIGNMENT)

    @property
    def shard_count(self) -> int:
        return -(-self.ffn_size // self.neurons_per_shard)

    def neurons(self, shard: int) -> range:
        first = shard * self.neurons_per_shard
        return range(first, min(first + self.neurons_per_shard, self.ffn_size))

    def shard_bytes(self, shard: int) -> int:
        return HEADER_BYTES + len(self.neurons(shard)) * self.stride

    def header(self, layer: int, shard: int) -> bytes:
        """The fields before the zeros, 52 bytes."""
        magic, neurons = MAGIC + bytes([VERSION]), self.neurons(shard)
        shape = (self.hidden_size, self.ffn_size, neurons.start, len(neurons), self.neurons_per_shard)
        fixed = (HEADER_BYTES, self.part, DTYPE_CODES[self.dtype], layer)
        return _FIELDS.pack(magic, *fixed, *shape, self.record_bytes, self.stride)


def neurons_per_shard(rows: int, dtype: DType, hidden_size: int, ffn_size: int) -> int:
    """As many as fit into the largest shard, of records of so many rows."""
    stride = round_up(rows * row_bytes(dtype, hidden_size), RECORD_ALIGNMENT)
    return max(1, min(ffn_size, (MAX_SHARD_BYTES - HEADER_BYTES) // stride))


def write_shard(path: Path, geometry: FfnGeometry, layer: int, shard: int, rows: Rows) -> None:
    """Writes one shard atomically. `rows(a, b)` gives the records of the neurons at places a … b-1 in the stored type.

    Floats may be of any float type where the stored one is numpy's too.
    """
    neurons = geometry.neurons(shard)
    step = max(1, _WRITE_BYTES // geometry.stride)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(geometry.header(layer, shard).ljust(HEADER_BYTES, b"\0"))
        for first in range(neurons.start, neurons.stop, step):
            block = rows(first, min(first + step, neurons.stop))
            records = np.zeros((len(block), geometry.stride), np.uint8)
            elements = np.ascontiguousarray(block, numpy_dtype(geometry.dtype))
            records[:, : geometry.record_bytes] = elements.view(np.uint8)
            file.write(records.data)


@dataclass(frozen=True)
class FfnShard:
    """An opened shard whose header is consistent in itself and with the file's size."""

    path: Path
    layer: int
    shard: int
    geometry: FfnGeometry

    @classmethod
    def open(cls, path: Path) -> FfnShard:
        """Errors: PackageError naming the file and the first wrong field."""
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
        return _parse_header(path, header, path.stat().st_size)

    def records(self) -> np.ndarray[Any, Any]:
        """All records, [neuron_count, …] of the stored type, mapped from the file."""
        geometry = self.geometry
        raw = np.memmap(self.path, np.uint8, "r", HEADER_BYTES, (len(geometry.neurons(self.shard)), geometry.stride))
        return raw[:, : geometry.record_bytes].view(numpy_dtype(geometry.dtype))


def _parse_header(path: Path, header: bytes, file_bytes: int) -> FfnShard:
    def refuse(what: str, code: str = "corrupt") -> PackageError:
        return PackageError(f"{path}: {what}; export the model again or push the file again", code)

    if len(header) < HEADER_BYTES:
        raise refuse(f"is cut off: {len(header)} bytes, a header has {HEADER_BYTES}")
    magic, header_bytes, part, dtype, layer, hidden, ffn, first, count, per_shard, record, stride = _FIELDS.unpack_from(
        header
    )
    if magic[:7] != MAGIC:
        raise refuse("is not an FFN shard (wrong magic)")
    if magic[7] > VERSION:
        raise PackageError(
            f"{path}: is of format {magic[7]}, newer than {VERSION}; use a newer flashneuron", "newer_format"
        )
    if magic[7] != VERSION or header_bytes != HEADER_BYTES:
        raise refuse("has a wrong header size or version")
    if part not in set(Part) or dtype not in DTYPE_NAMES:
        raise refuse(f"has unknown part {part} or dtype {dtype}")
    if not (hidden and ffn and per_shard and first % per_shard == 0 and first < ffn):
        raise refuse("has a zero size or starts at a wrong neuron")
    gated = record == bundle_rows(True) * row_bytes(DTYPE_NAMES[dtype], hidden)  # of a bundle, which its record shows
    geometry = FfnGeometry(Part(part), DTYPE_NAMES[dtype], hidden, ffn, per_shard, Part(part).rows(gated))
    shard = first // per_shard
    if (count, record, stride) != (len(geometry.neurons(shard)), geometry.record_bytes, geometry.stride):
        raise refuse("has a neuron_count, record_bytes or stride that does not fit its sizes")
    if file_bytes != geometry.shard_bytes(shard):
        raise refuse(f"has {file_bytes} bytes, expected {geometry.shard_bytes(shard)}")
    if header[_FIELDS.size :].strip(b"\0"):
        raise refuse("has bytes other than zero in the header's unused part")
    return FfnShard(path, layer, shard, geometry)
