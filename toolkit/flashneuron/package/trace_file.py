"""Activation traces: which neurons consecutive tokens of text select. Bytes: FORMAT.md, "trace.bin"."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from flashneuron.errors import PackageError

MAGIC = b"FNTRACE\1"
HEADER_BYTES = 64
MAX_BYTES, MAX_TOKENS = 32 << 20, 512  # of a package's sample
_FIELDS = struct.Struct("<8s5I")

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Trace:
    """`bits`: u8 [layers, kinds, tokens, row_bytes(F)], neuron n in bit n % 8 of byte n // 8. Kind 0 is what a token
    selects, kind 1, if it is there, what was expected of it one layer before.
    """

    ffn_size: int
    bits: Array

    @property
    def layers(self) -> int:
        return int(self.bits.shape[0])

    @property
    def tokens(self) -> int:
        return int(self.bits.shape[2])

    def selected(self, layer: int, kind: int = 0) -> Array:
        """bool [tokens, F]."""
        return np.unpackbits(self.bits[layer, kind], axis=1, count=self.ffn_size, bitorder="little").astype(bool)


def row_bytes(ffn_size: int) -> int:
    """Of one token in one layer: whole u64."""
    return -(-ffn_size // 64) * 8


def sample_tokens(layers: int, ffn_size: int) -> int:
    """Tokens that a package's trace holds at most."""
    return max(1, min(MAX_TOKENS, MAX_BYTES // (2 * layers * row_bytes(ffn_size))))


def trace_bytes(layers: int, ffn_size: int) -> int:
    """Of a package's trace, at most."""
    return HEADER_BYTES + 2 * layers * sample_tokens(layers, ffn_size) * row_bytes(ffn_size)


class TraceWriter:
    """Layers are added in order, each with the same tokens, all with what was expected or none."""

    def __init__(self, file: BinaryIO, layers: int, ffn_size: int) -> None:
        self._file, self._layers, self._ffn_size = file, layers, ffn_size
        self._shape: tuple[int, int] | None = None

    def add(self, selected: Array, expected: Array | None = None) -> None:
        """bool [tokens, F] each, the last of which are kept (sample_tokens)."""
        most = sample_tokens(self._layers, self._ffn_size)
        kinds = [kind[-most:] for kind in (selected, expected) if kind is not None]
        shape = (len(kinds), len(kinds[0]))
        if self._shape is None:
            self._shape = shape
            header = _FIELDS.pack(MAGIC, HEADER_BYTES, self._layers, self._ffn_size, shape[1], shape[0])
            self._file.write(header.ljust(HEADER_BYTES, b"\0"))
        if shape != self._shape or any(kind.shape != (shape[1], self._ffn_size) for kind in kinds):
            raise ValueError(f"a layer's selections are {shape}, the first layer's {self._shape}")
        for kind in kinds:
            packed = np.packbits(kind, axis=1, bitorder="little")
            padded = np.zeros((len(kind), row_bytes(self._ffn_size)), np.uint8)
            padded[:, : packed.shape[1]] = packed
            self._file.write(padded.tobytes())


@contextmanager
def writing_trace(path: Path, layers: int, ffn_size: int) -> Iterator[TraceWriter]:
    """The file has its name once all is written."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        yield TraceWriter(file, layers, ffn_size)
    part.replace(path)


def read_trace(path: Path) -> Trace:
    """Errors: PackageError naming the file and what is wrong with it."""

    def refuse(what: str) -> PackageError:
        return PackageError(f"{path}: {what}; export the model again or copy the file again")

    try:
        content = path.read_bytes()
    except OSError as error:
        raise PackageError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) < HEADER_BYTES:
        raise refuse(f"is cut off: {len(content)} bytes, a header has {HEADER_BYTES}")
    magic, header_bytes, layers, ffn_size, tokens, kinds = _FIELDS.unpack_from(content)
    if magic[:7] != MAGIC[:7]:
        raise refuse("is not an activation trace (wrong magic)")
    if magic[7] > MAGIC[7]:
        raise PackageError(f"{path}: is of format {magic[7]}, newer than 1; use a newer flashneuron", "newer_format")
    if magic != MAGIC or header_bytes != HEADER_BYTES or content[_FIELDS.size : HEADER_BYTES].strip(b"\0"):
        raise refuse("has a wrong version or header")
    if not (1 <= layers <= 1024 and 1 <= ffn_size < 1 << 24 and 1 <= tokens < 1 << 24 and kinds in (1, 2)):
        raise refuse("has a size that is out of range")
    shape = (layers, kinds, tokens, row_bytes(ffn_size))
    if len(content) != (size := HEADER_BYTES + math.prod(shape)):
        raise refuse(f"has {len(content)} bytes, its header needs {size}")
    trace = Trace(ffn_size, np.frombuffer(content, np.uint8, offset=HEADER_BYTES).reshape(shape))
    tail = np.unpackbits(trace.bits, axis=3, bitorder="little")[..., ffn_size:]
    if tail.any():
        raise refuse("selects a neuron that the model does not have")
    return trace
