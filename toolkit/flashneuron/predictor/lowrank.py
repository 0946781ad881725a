"""The predictor in torch: logits = (x · aᵀ) · bᵀ + bias; a neuron is selected where its logit is over 0."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flashneuron.package.layout import DType
from flashneuron.package.predictor_file import LowRankPredictor


@dataclass(frozen=True)
class LowRank:
    """fp32, all on one device."""

    a: Tensor  # [rank, d]
    b: Tensor  # [F, rank]
    bias: Tensor  # [F]

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    def logits(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """[n, d] → [n, F]."""
        return torch.addmm(self.bias, x @ self.a.T, self.b.T, out=out)

    def selects(self, x: Tensor) -> Tensor:
        """bool [n, F]."""
        return self.logits(x) > 0

    def shifted(self, threshold: float) -> LowRank:
        """Selects where this one's logit is over `threshold`."""
        return replace(self, bias=self.bias - threshold)

    def rounded(self, dtype: DType) -> LowRank:
        """As a file of `dtype` holds it, so that what is measured is what runs."""
        if dtype == "fp32":
            return self
        return replace(self, a=self.a.half().float(), b=self.b.half().float())

    def to(self, device: torch.device) -> LowRank:
        return LowRank(self.a.to(device), self.b.to(device), self.bias.to(device))

    def to_file(self, layer: int) -> LowRankPredictor:
        return LowRankPredictor(layer, *(array.cpu().numpy() for array in (self.bias, self.a, self.b)))

    @classmethod
    def from_file(cls, stored: LowRankPredictor, device: torch.device | str = "cpu") -> LowRank:
        arrays = (
            torch.tensor(array, dtype=torch.float32, device=device) for array in (stored.a, stored.b, stored.bias)
        )
        return cls(*arrays)
