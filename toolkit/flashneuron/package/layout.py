"""Elements and small sizes that several files of a package share."""

from __future__ import annotations

from typing import Literal

import numpy as np

DType = Literal["fp32", "fp16"]
DTYPE_CODES: dict[DType, int] = {"fp32": 0, "fp16": 1}  # in binary headers
DTYPE_NAMES: dict[int, DType] = {code: name for name, code in DTYPE_CODES.items()}


def numpy_dtype(dtype: DType) -> np.dtype[np.float32] | np.dtype[np.float16]:
    """The little-endian numpy type of the stored elements."""
    return np.dtype("<f4") if dtype == "fp32" else np.dtype("<f2")


def element_bytes(dtype: DType) -> int:
    return 4 if dtype == "fp32" else 2


def round_up(value: int, unit: int) -> int:
    return (value + unit - 1) // unit * unit


def bias_bytes(hidden_size: int, ffn_size: int) -> int:
    """Size of a `.bias` file: fp32 up biases, then fp32 down biases."""
    return 4 * (ffn_size + hidden_size)
