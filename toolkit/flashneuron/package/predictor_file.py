"""Low-rank predictors: one `.pred` file a layer. Bytes: FORMAT.md, "predictor"."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flashneuron.errors import PackageError
from flashneuron.package.atomic import atomic_write
from flashneuron.package.elements import decode, encode_floats, encode_int8
from flashneuron.package.layout import DTYPE_CODES, DTYPE_NAMES, PredictorDType, element_bytes, numpy_dtype, round_up

MAGIC = b"FNPRED\0"
VERSION = 2  # 1 has no ReLU; a file is of the oldest version that can say what it holds
HEADER_BYTES = 64
MAX_RANK = 65536
_FIELDS = struct.Struct("<8s7I")
_ALIGNMENT = 64


@dataclass(frozen=True)
class LowRankPredictor:
    """Neuron n is selected iff (b @ f(a @ x))[n] + bias[n] > 0, f nothing or a ReLU, x what the manifest's `input`
    says.
    """

    layer: int
    bias: np.ndarray[Any, Any]  # fp32 [F]
    a: np.ndarray[Any, Any]  # [rank, d]
    b: np.ndarray[Any, Any]  # [F, rank]
    relu: bool = False


def predictor_bytes(hidden_size: int, ffn_size: int, rank: int, dtype: PredictorDType) -> int:
    return _places(hidden_size, ffn_size, rank, dtype)[2]


def write_predictor(path: Path, predictor: LowRankPredictor, dtype: PredictorDType) -> None:
    """Writes atomically; a and b are rounded to `dtype`. Precondition: shapes fit and values are finite in `dtype`."""
    (rank, hidden), (ffn, rank_b) = predictor.a.shape, predictor.b.shape
    if rank != rank_b or predictor.bias.shape != (ffn,) or not 1 <= rank <= MAX_RANK:
        raise ValueError(
            f"predictor shapes {predictor.a.shape}, {predictor.b.shape}, {predictor.bias.shape} do not fit"
        )
    (a, a_scales), (b, b_scales) = (_encode(matrix, dtype) for matrix in (predictor.a, predictor.b))
    bias = np.ascontiguousarray(predictor.bias, "<f4")
    decoded = (decode(a, a_scales, dtype, hidden), decode(b, b_scales, dtype, rank))
    if not all(np.isfinite(array).all() for array in (*decoded, bias)):
        raise ValueError(f"predictor of layer {predictor.layer} has values that {dtype} cannot hold")
    a_at, b_at, size = _places(hidden, ffn, rank, dtype)
    content = bytearray(size)
    magic, relu = MAGIC + bytes([2 if predictor.relu else 1]), int(predictor.relu)
    _FIELDS.pack_into(content, 0, magic, HEADER_BYTES, predictor.layer, hidden, ffn, rank, DTYPE_CODES[dtype], relu)
    if a_scales is not None and b_scales is not None:
        bias = np.concatenate([bias, a_scales, b_scales])
    for start, array in ((HEADER_BYTES, bias), (a_at, a), (b_at, b)):
        content[start : start + array.nbytes] = array.tobytes()
    atomic_write(path, bytes(content))


def read_predictor(path: Path) -> LowRankPredictor:
    """A and B come as fp32. Errors: PackageError naming the file and the first wrong field."""
    content = path.read_bytes()

    def refuse(what: str) -> PackageError:
        return PackageError(f"{path}: {what}; export the model again or push the file again")

    if len(content) < HEADER_BYTES:
        raise refuse(f"is cut off: {len(content)} bytes, a header has {HEADER_BYTES}")
    magic, header_bytes, layer, hidden, ffn, rank, code, relu = _FIELDS.unpack_from(content)
    if magic[:7] != MAGIC:
        raise refuse("is not a predictor (wrong magic)")
    if magic[7] > VERSION:
        raise PackageError(
            f"{path}: is of format {magic[7]}, newer than {VERSION}; use a newer flashneuron", "newer_format"
        )
    if not magic[7] or header_bytes != HEADER_BYTES or content[_FIELDS.size : HEADER_BYTES].strip(b"\0"):
        raise refuse("has a wrong version or header")
    if relu > (1 if magic[7] > 1 else 0):
        raise refuse(f"has function {relu} between its matrices, which version {magic[7]} does not know")
    dtype = DTYPE_NAMES.get(code)
    if not (hidden and ffn and 1 <= rank <= MAX_RANK) or dtype is None or dtype == "int4":
        raise refuse(f"has a zero size, rank {rank} or dtype {code} out of range")
    a_at, b_at, size = _places(hidden, ffn, rank, dtype)
    if len(content) != size:
        raise refuse(f"has {len(content)} bytes, expected {size}")
    bias, *scales = np.split(np.frombuffer(content, "<f4", ffn + _scales(ffn, rank, dtype), HEADER_BYTES), [ffn])
    a_scales, b_scales = np.split(scales[0], [rank]) if dtype == "int8" else (None, None)
    a = np.frombuffer(content, numpy_dtype(dtype), rank * hidden, a_at).reshape(rank, hidden)
    b = np.frombuffer(content, numpy_dtype(dtype), ffn * rank, b_at).reshape(ffn, rank)
    matrices = (decode(a, a_scales, dtype, hidden), decode(b, b_scales, dtype, rank))
    return LowRankPredictor(layer, bias, *matrices, relu=bool(relu))


def _encode(matrix: np.ndarray[Any, Any], dtype: PredictorDType) -> tuple[np.ndarray[Any, Any], Any]:
    return encode_int8(matrix) if dtype == "int8" else (encode_floats(matrix, dtype), None)


def _scales(ffn_size: int, rank: int, dtype: PredictorDType) -> int:
    return ffn_size + rank if dtype == "int8" else 0


def _places(hidden_size: int, ffn_size: int, rank: int, dtype: PredictorDType) -> tuple[int, int, int]:
    """Where A and B start, and the file's size."""
    a_at = round_up(HEADER_BYTES + 4 * (ffn_size + _scales(ffn_size, rank, dtype)), _ALIGNMENT)
    b_at = round_up(a_at + rank * hidden_size * element_bytes(dtype), _ALIGNMENT)
    return a_at, b_at, b_at + ffn_size * rank * element_bytes(dtype)
