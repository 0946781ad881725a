"""Stored elements to numbers and back. FORMAT.md, "Elements"."""

from __future__ import annotations

from typing import Any

import numpy as np

from flashneuron.package.layout import INT4_GROUP, DType, FloatDType, numpy_dtype

Array = np.ndarray[Any, Any]


def encode_floats(values: Array, dtype: FloatDType) -> Array:
    """The same shape in the stored type, rounded to nearest even. Values that do not fit become infinite."""
    if dtype != "bf16":
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(values, numpy_dtype(dtype))
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    halves: Array = ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype("<u2")
    return halves


def encode_int8(values: Array) -> tuple[Array, Array]:
    """[n, d] → int8 [n, d] and fp32 scales [n]: the row's largest magnitude becomes 127."""
    values = np.asarray(values, np.float32)
    most = np.abs(values).max(axis=1)
    scales = np.where(most > 0, most / np.float32(127), np.float32(1)).astype("<f4")
    return np.clip(np.rint(values / scales[:, None]), -127, 127).astype("i1"), scales


def pack_int4(nibbles: Array) -> Array:
    """[n, d] of 0 … 15 → bytes [n, ceil(d / 2)], the lower nibble first."""
    if nibbles.shape[1] % 2:
        nibbles = np.pad(nibbles, ((0, 0), (0, 1)))
    packed: Array = (nibbles[:, ::2] | nibbles[:, 1::2] << 4).astype("u1")
    return packed


def decode(stored: Array, scales: Array | None, dtype: DType, count: int) -> Array:
    """Rows of `count` elements as fp32. `scales` [n] for int8, [n, groups] for int4, None for floats."""
    if dtype == "bf16":
        return (stored.astype("<u4") << 16).view("<f4")
    if scales is None:
        return stored.astype(np.float32)
    if dtype == "int8":
        return stored.astype(np.float32) * scales.reshape(-1, 1)
    nibbles = np.stack([stored & 15, stored >> 4], axis=2).reshape(len(stored), -1)[:, :count]
    each = np.repeat(scales.astype(np.float32), INT4_GROUP, axis=1)[:, :count]
    return (nibbles.astype(np.float32) - 8) * each
