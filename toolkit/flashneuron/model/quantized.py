"""A projection with integer weights, for attention programs and heads.

int8: symmetric, one scale per output. int4: symmetric, -8 … 7, one scale per output and group of INT4_GROUP inputs,
rounded to bf16, which is what programs store. Inputs are rounded to int8 as the program does it at run time: each token
with its own scale and zero point, so that a token's numbers do not depend on the tokens beside it.

Traced, the rounding shows as quantized_decomposed operators: backends recognise these and multiply integers.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.ao.quantization.fx._decomposed  # registers quantized_decomposed
from torch import Tensor, nn

IntDtype = Literal["int8", "int4"]
INT4_GROUP = 32
# Where an int4 group's largest weight may come to lie, in steps: rounding few large weights down saves many small ones.
_INT4_REACHES = (7.0, 7.5, 8.0, 9.0)
_LEAST_SCALE = 1e-9  # of a row of zeros


class QuantizedProjection(nn.Module):
    """y = x · weightᵀ + bias, fp32 in and out."""

    weight: Tensor  # int8 [out, in], also where values fit int4
    scale: Tensor  # fp32 [out] or, int4, [out, in / INT4_GROUP]
    zero_point: Tensor  # zeros, like scale

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: IntDtype) -> None:
        super().__init__()
        self.dtype = dtype
        values, scale = round_int8(weight) if dtype == "int8" else round_int4(weight)
        self.register_buffer("weight", values)
        self.register_buffer("scale", scale)
        self.register_buffer(
            "zero_point", torch.zeros_like(scale, dtype=torch.int64 if dtype == "int8" else torch.int32)
        )
        self.bias = None if bias is None else nn.Parameter(bias.float(), requires_grad=False)

    def dequantized(self) -> Tensor:
        """The weights as they are stored, fp32 [out, in]."""
        ops = torch.ops.quantized_decomposed
        weight: Tensor
        if self.dtype == "int8":
            weight = ops.dequantize_per_channel(self.weight, self.scale, self.zero_point, 0, -127, 127, torch.int8)
        else:
            weight = ops.dequantize_per_channel_group(
                self.weight, self.scale, self.zero_point, -8, 7, torch.int8, INT4_GROUP, torch.float32
            )
        return weight

    def forward(self, x: Tensor) -> Tensor:
        ops = torch.ops.quantized_decomposed
        scale, zero_point = ops.choose_qparams_per_token_asymmetric(x, torch.int8)
        rounded = ops.quantize_per_token(x, scale, zero_point, -128, 127, torch.int8)
        x = ops.dequantize_per_token(rounded, scale, zero_point, -128, 127, torch.int8, torch.float32)
        return nn.functional.linear(x, self.dequantized(), self.bias)


def round_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Values and scales of fp32 [out, in]."""
    scale = (weight.abs().amax(1) / 127).clamp_min(_LEAST_SCALE)
    return (weight / scale[:, None]).round_().to(torch.int8), scale


def round_int4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Values and scales of fp32 [out, in], in a multiple of INT4_GROUP: each group takes the reach with the least
    squared error."""
    groups = weight.reshape(-1, INT4_GROUP)
    largest = groups.abs().amax(1, keepdim=True)
    best = torch.full_like(largest, torch.inf)
    values, scale = torch.zeros_like(groups, dtype=torch.int8), torch.zeros_like(largest)
    for reach in _INT4_REACHES:
        step = (largest / reach).clamp_min(_LEAST_SCALE).bfloat16().float()
        tried = (groups / step).round_().clamp_(-8, 7)
        error = (tried * step).sub_(groups).square_().sum(1, keepdim=True)
        better = error < best
        best, scale = torch.where(better, error, best), torch.where(better, step, scale)
        values = torch.where(better, tried.to(torch.int8), values)
    return values.view(weight.shape), scale.view(weight.shape[0], -1)
