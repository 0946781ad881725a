"""Elements and small sizes that several files of a package share."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

DType = Literal["fp32", "fp16", "bf16", "int8", "int4"]
FloatDType = Literal["fp32", "fp16", "bf16"]
PredictorDType = Literal["fp32", "fp16", "bf16", "int8"]
PredictorInput = Literal["ffn_input", "residual", "layer_input", "normed_layer_input"]  # FORMAT.md, "predictor"
BEFORE_ATTENTION: tuple[PredictorInput, ...] = ("layer_input", "normed_layer_input")  # known before it runs
DTYPE_CODES: dict[DType, int] = {"fp32": 0, "fp16": 1, "bf16": 2, "int8": 3, "int4": 4}  # in binary headers
DTYPE_NAMES: dict[int, DType] = {code: name for name, code in DTYPE_CODES.items()}
INT4_GROUP = 128  # elements of a row that share a scale; the last group may be shorter
_STORED = {"fp32": "<f4", "fp16": "<f2", "bf16": "<u2", "int8": "i1", "int4": "u1"}


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """The little-endian numpy type of what is stored: bf16 as its bits, int4 as bytes of two."""
    return np.dtype(_STORED[dtype])


def element_bytes(dtype: PredictorDType) -> int:
    return numpy_dtype(dtype).itemsize


def row_bytes(dtype: DType, count: int) -> int:
    """Of a row of `count` elements."""
    return (count + 1) // 2 if dtype == "int4" else element_bytes(dtype) * count


def row_scales(dtype: DType, count: int) -> int:
    """How many scales a row of `count` elements has: fp32 for int8, fp16 for int4."""
    return {"int8": 1, "int4": -(-count // INT4_GROUP)}.get(dtype, 0)


def scale_dtype(dtype: DType) -> np.dtype[Any]:
    return np.dtype("<f4") if dtype == "int8" else np.dtype("<f2")


def bundle_rows(gated: bool) -> int:
    """Rows of hidden_size elements that a neuron has: (gate row,) up row, down column."""
    return 3 if gated else 2


def float_dtype(dtype: DType) -> FloatDType:
    """What goes with neurons of `dtype` where there are no scales: the embedding."""
    return "fp16" if dtype == "int8" or dtype == "int4" else dtype


def predictor_dtype(dtype: DType) -> PredictorDType:
    """The element of predictors of neurons of `dtype`."""
    return "int8" if dtype == "int4" else dtype


def round_up(value: int, unit: int) -> int:
    return (value + unit - 1) // unit * unit


def bias_bytes(hidden_size: int, ffn_size: int) -> int:
    """Size of a `.bias` file: fp32 up biases, then fp32 down biases."""
    return 4 * (ffn_size + hidden_size)


def scales_bytes(dtype: DType, hidden_size: int, ffn_size: int, gated: bool) -> int:
    """Size of a `.scales` file: the scales of each gate row where there are any, each up row, each down column."""
    return bundle_rows(gated) * ffn_size * row_scales(dtype, hidden_size) * scale_dtype(dtype).itemsize
