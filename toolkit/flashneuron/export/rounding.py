"""From checkpoint tensors to the arrays that files store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flashneuron.errors import ModelError
from flashneuron.package.elements import encode_int8, pack_int4
from flashneuron.package.layout import INT4_GROUP, DType, FloatDType, numpy_dtype, row_scales

_TORCH = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
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


def stored_rows(tensor: Tensor, dtype: DType, name: str) -> Stored:
    """[n, d] in any element type. Errors: as rounded."""
    if dtype == "fp32" or dtype == "fp16" or dtype == "bf16":
        return Stored(rounded(tensor, dtype, name), None)
    parts = torch.split(tensor, max(1, _CHUNK_ELEMENTS // tensor.shape[1]))
    encoded = [encode_int8(part.float().numpy()) if dtype == "int8" else _encode_int4(part) for part in parts]
    elements, scales = (np.concatenate(arrays) for arrays in zip(*encoded, strict=True))
    if not np.isfinite(scales).all():
        raise ModelError(f"{name} holds values whose scale is over fp16's 65504; export with --dtype int8")
    return Stored(elements, scales)


def _encode_int4(part: Tensor) -> tuple[Array, Array]:
    """Packed nibbles and fp16 scales [n, groups]: a group's largest magnitude becomes 7 steps, so that nothing is
    clipped.

    Smaller scales have a smaller squared error, but what they clip are the same outputs in neuron after neuron: those
    errors add up over a token's neurons, where those of rounding average out.
    """
    rows, width = part.shape
    count = row_scales("int4", width)
    groups = torch.nn.functional.pad(part.float(), (0, count * INT4_GROUP - width)).view(rows, count, INT4_GROUP)
    scale = (groups.abs().amax(2, keepdim=True) / 7).half()
    steps = scale.float()
    nibbles = (groups / steps.where(steps != 0, 1.0)).round_().clamp_(-8, 7) + 8
    flat = nibbles.to(torch.uint8).view(rows, -1)[:, :width].numpy()
    return pack_int4(flat), scale.squeeze(2).numpy().astype("<f2")


def _limit(dtype: FloatDType) -> str:
    return f"{torch.finfo(_TORCH[dtype]).max:.5g}"
