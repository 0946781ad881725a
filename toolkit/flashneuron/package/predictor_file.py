"""Low-rank predictors: one `.pred` file a layer. Bytes: FORMAT.md, "predictor"."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flashneuron.errors import PackageError
from flashneuron.package.atomic import atomic_write
from flashneuron.package.layout import DTYPE_CODES, DTYPE_NAMES, DType, element_bytes, numpy_dtype, round_up

MAGIC = b"FNPRED\0"
VERSION = 1
HEADER_BYTES = 64
MAX_RANK = 65536
_FIELDS = struct.Struct("<8s6I")
_ALIGNMENT = 64


@dataclass(frozen=True)
class LowRankPredictor:
    """Neuron n is selected iff (b @ (a @ x))[n] + bias[n] > 0, x the layer's FFN input."""

    layer: int
    bias: np.ndarray[Any, Any]  # fp32 [F]
    a: np.ndarray[Any, Any]  # [rank, d]
    b: np.ndarray[Any, Any]  # [F, rank]


def predictor_bytes(hidden_size: int, ffn_size: int, rank: int, dtype: DType) -> int:
    return _places(hidden_size, ffn_size, rank, dtype)[2]


def write_predictor(path: Path, predictor: LowRankPredictor, dtype: DType) -> None:
    """Writes atomically; a and b are rounded to `dtype`. Precondition: shapes fit and values are finite in `dtype`."""
    (rank, hidden), (ffn, rank_b) = predictor.a.shape, predictor.b.shape
    if rank != rank_b or predictor.bias.shape != (ffn,) or not 1 <= rank <= MAX_RANK:
        raise ValueError(
            f"predictor shapes {predictor.a.shape}, {predictor.b.shape}, {predictor.bias.shape} do not fit"
        )
    with np.errstate(over="ignore"):
        a, b = (np.ascontiguousarray(matrix, numpy_dtype(dtype)) for matrix in (predictor.a, predictor.b))
    bias = np.ascontiguousarray(predictor.bias, "<f4")
    if not all(np.isfinite(array).all() for array in (a, b, bias)):
        raise ValueError(f"predictor of layer {predictor.layer} has values that {dtype} cannot hold")
    a_at, b_at, size = _places(hidden, ffn, rank, dtype)
    content = bytearray(size)
    header = (MAGIC + bytes([VERSION]), HEADER_BYTES, predictor.layer, hidden, ffn, rank, DTYPE_CODES[dtype])
    _FIELDS.pack_into(content, 0, *header)
    for start, array in ((HEADER_BYTES, bias), (a_at, a), (b_at, b)):
        content[start : start + array.nbytes] = array.tobytes()
    atomic_write(path, bytes(content))


def read_predictor(path: Path) -> LowRankPredictor:
    """Arrays are mapped read-only. Errors: PackageError naming the file and the first wrong field."""
    content = path.read_bytes()

    def refuse(what: str) -> PackageError:
        return PackageError(f"{path}: {what}; export the model again or push the file again")

    if len(content) < HEADER_BYTES:
        raise refuse(f"is cut off: {len(content)} bytes, a header has {HEADER_BYTES}")
    magic, header_bytes, layer, hidden, ffn, rank, code = _FIELDS.unpack_from(content)
    if magic[:7] != MAGIC:
        raise refuse("is not a predictor (wrong magic)")
    if magic[7] > VERSION:
        raise PackageError(
            f"{path}: is of format {magic[7]}, newer than {VERSION}; use a newer flashneuron", "newer_format"
        )
    if magic[7] != VERSION or header_bytes != HEADER_BYTES or content[_FIELDS.size : HEADER_BYTES].strip(b"\0"):
        raise refuse("has a wrong version or header")
    if not (hidden and ffn and 1 <= rank <= MAX_RANK) or code not in DTYPE_NAMES:
        raise refuse(f"has a zero size, rank {rank} or dtype {code} out of range")
    dtype = DTYPE_NAMES[code]
    a_at, b_at, size = _places(hidden, ffn, rank, dtype)
    if len(content) != size:
        raise refuse(f"has {len(content)} bytes, expected {size}")
    return LowRankPredictor(
        layer,
        np.frombuffer(content, "<f4", ffn, HEADER_BYTES),
        np.frombuffer(content, numpy_dtype(dtype), rank * hidden, a_at).reshape(rank, hidden),
        np.frombuffer(content, numpy_dtype(dtype), ffn * rank, b_at).reshape(ffn, rank),
    )


def _places(hidden_size: int, ffn_size: int, rank: int, dtype: DType) -> tuple[int, int, int]:
    """Where A and B start, and the file's size."""
    a_at = round_up(HEADER_BYTES + 4 * ffn_size, _ALIGNMENT)
    b_at = round_up(a_at + rank * hidden_size * element_bytes(dtype), _ALIGNMENT)
    return a_at, b_at, b_at + ffn_size * rank * element_bytes(dtype)
