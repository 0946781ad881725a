"""From checkpoint tensors to the arrays that files store.

Rounding goes by the weights alone. Calibrated methods (GPTQ, AWQ) and the libraries that have them share a scale among
inputs of one output; in a record that holds for gate and up rows, but a down column's group runs over outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flashneuron.errors import ModelError
from flashneuron.package.elements import encode_int8, pack_int4
from flashneuron.package.layout import INT4_GROUP, DType, FloatDType, numpy_dtype, row_scales

_TORCH = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# int4 scales of up rows: clipping a little can lessen the squared error. Not of down columns, where it is the same
# outputs that are clipped in neuron after neuron: over a token's neurons those errors add up, where those of rounding
# average out.
UP_CLIPS = (1.0, 0.95, 0.9, 0.85)
_CHUNK_ELEMENTS = 1 << 22  # quantised at a time

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Stored:
    """Rows as files hold them: [n, row_bytes as the stored type], scales [n] or [n, groups] where there are any."""

    elements: Array
    scales: Array | None


def rounded(tensor: Tensor, dtype: FloatDType, name: str) -> Array:
    """A contiguous array of `dtype`. Errors: ModelError where it cannot hold a value (finite ones stay finite)."""
    converted = tensor.to(_TORCH[dtype]).contiguous()
    if not torch.isfinite(converted).all():
        raise ModelError(f"{name} holds values over {dtype}'s {_limit(dtype)}; export with --dtype fp32")
    array: Array = (converted.view(torch.int16) if dtype == "bf16" else converted).numpy()
    return array.view(numpy_dtype(dtype))


def stored_rows(tensor: Tensor, dtype: DType, name: str, clips: Sequence[float] = (1.0,)) -> Stored:
    """[n, d] in any element type; `clips`: what int4 may clip its scales by. Errors: as rounded."""
    if dtype == "fp32" or dtype == "fp16" or dtype == "bf16":
        return Stored(rounded(tensor, dtype, name), None)
    parts = torch.split(tensor, max(1, _CHUNK_ELEMENTS // tensor.shape[1]))
    encoded = [encode_int8(part.float().numpy()) if dtype == "int8" else _encode_int4(part, clips) for part in parts]
    elements, scales = (np.concatenate(arrays) for arrays in zip(*encoded, strict=True))
    if not np.isfinite(scales).all():
        raise ModelError(f"{name} holds values whose scale is over fp16's 65504; export with --dtype int8")
    return Stored(elements, scales)


def _encode_int4(part: Tensor, clips: Sequence[float]) -> tuple[Array, Array]:
    """Packed nibbles and fp16 scales [n, groups]: of the smallest scale that clips nothing times each of `clips`, the
    one of least squared error. The side with the largest magnitude has 8 steps, so that its scale may be negative.
    """
    rows, width = part.shape
    count = row_scales("int4", width)
    groups = torch.nn.functional.pad(part.float(), (0, count * INT4_GROUP - width)).view(rows, count, INT4_GROUP)
    above, below = groups.amax(2, keepdim=True).clamp_min(0), -groups.amin(2, keepdim=True).clamp_max(0)
    whole = torch.where(above > below, -torch.maximum(above / 8, below / 7), torch.maximum(below / 8, above / 7))
    best, scale, units = torch.full_like(whole, torch.inf), whole.half(), torch.zeros_like(groups)
    for clip in clips:
        tried = (whole * clip).half()
        steps = tried.float()
        rounded_units = (groups / steps.where(steps != 0, 1.0)).round_().clamp_(-8, 7)
        error = (rounded_units * steps - groups).square_().sum(2, keepdim=True)
        better = error < best
        best, scale = error.where(better, best), tried.where(better, scale)
        units = rounded_units.where(better, units)
    flat = (units + 8).to(torch.uint8).view(rows, -1)[:, :width].numpy()
    return pack_int4(flat), scale.squeeze(2).numpy().astype("<f2")


def _limit(dtype: FloatDType) -> str:
    return f"{torch.finfo(_TORCH[dtype]).max:.5g}"
