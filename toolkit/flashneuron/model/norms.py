"""Norms, always fp32: ExecuTorch's LayerNorm is wrong in fp16 from a width of 256 on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flashneuron.model.spec import ModelSpec, Weights


class LayerNorm(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.float(), requires_grad=False)
        self.bias = nn.Parameter(bias.float(), requires_grad=False)
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


class RmsNorm(nn.Module):
    """Over the last dimension."""

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.float(), requires_grad=False)
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.epsilon) * self.weight


def make_norm(spec: ModelSpec, weights: Weights, name: str) -> nn.Module:
    """The norm `name` of the model's kind: [n, d] → [n, d]."""
    weight = weights[f"{name}.weight"]
    if spec.norm_kind == "rms":
        return RmsNorm(weight, spec.norm_epsilon)
    return LayerNorm(weight, weights[f"{name}.bias"], spec.norm_epsilon)
