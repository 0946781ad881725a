"""One layer's feed-forward network in torch, fp32: what capture and evaluation compute between the attention blocks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flashneuron.model.spec import Weights


@dataclass(frozen=True)
class Ffn:
    """relu(x · upᵀ + up_bias) · downᵀ + down_bias. A neuron is a row of `up` and the same column of `down`."""

    up: Tensor  # [F, d]
    up_bias: Tensor  # [F]
    down: Tensor  # [d, F]
    down_bias: Tensor  # [d]

    @classmethod
    def load(cls, weights: Weights, layer: int, device: torch.device | str = "cpu") -> Ffn:
        names = ("up.weight", "up.bias", "down.weight", "down.bias")
        return cls(*(weights[f"layers.{layer}.ffn.{name}"].to(device, torch.float32) for name in names))

    @property
    def neurons(self) -> int:
        return len(self.up)

    @property
    def width(self) -> int:
        return self.up.shape[1]

    @property
    def matrices(self) -> int:
        """Vectors of a neuron's record: an up row and a down column."""
        return 2

    @property
    def device(self) -> torch.device:
        return self.up.device

    def linear_test(self) -> tuple[Tensor, Tensor] | None:
        """(rows [F, d], bias [F]) if `active(x)` is x · rowsᵀ + bias > 0; None where no such rows exist."""
        return self.up, self.up_bias

    def pre_activation(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """[n, d] → [n, F]; a neuron fires where this is over 0."""
        return torch.addmm(self.up_bias, x, self.up.T, out=out)

    def active(self, x: Tensor) -> Tensor:
        """bool [n, F]: the neurons that fire."""
        return self.pre_activation(x) > 0

    def __call__(self, x: Tensor, selected: Tensor | None = None, scratch: Tensor | None = None) -> Tensor:
        """[n, d] → [n, d], from the neurons that `selected` (bool [n, F]) names, or all. `scratch`: fp32 [n, F]."""
        hidden = self.pre_activation(x, scratch).relu_()
        if selected is not None:
            hidden.mul_(selected)
        return torch.addmm(self.down_bias, hidden, self.down.T)
