"""The predictor in torch: logits = f(x · aᵀ) · bᵀ + bias, f nothing or a ReLU; a neuron is selected where its logit is
over 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flashneuron.package.elements import decode, encode_floats, encode_int8
from flashneuron.package.layout import PredictorDType
from flashneuron.package.predictor_file import LowRankPredictor


@dataclass(frozen=True)
class LowRank:
    """fp32, all on one device."""

    a: Tensor  # [rank, d]
    b: Tensor  # [F, rank]
    bias: Tensor  # [F]
    relu: bool = False  # between a and b

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    def logits(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """[n, d] → [n, F]."""
        hidden = x @ self.a.T
        return torch.addmm(self.bias, hidden.relu_() if self.relu else hidden, self.b.T, out=out)

    def selects(self, x: Tensor) -> Tensor:
        """bool [n, F]."""
        return self.logits(x) > 0

    def before_affine(self, weight: Tensor, bias: Tensor) -> LowRank:
        """Of z what this one is of x = weight ∘ z + bias, [d] each. Precondition: no ReLU."""
        return replace(self, a=self.a * weight, bias=self.bias + self.b @ (self.a @ bias))

    def shifted(self, threshold: float) -> LowRank:
        """Selects where this one's logit is over `threshold`."""
        return replace(self, bias=self.bias - threshold)

    def rounded(self, dtype: PredictorDType) -> LowRank:
        """As a file of `dtype` holds it, so that what is measured is what runs."""
        return replace(self, a=_rounded(self.a, dtype), b=_rounded(self.b, dtype))

    def to(self, device: torch.device) -> LowRank:
        return replace(self, a=self.a.to(device), b=self.b.to(device), bias=self.bias.to(device))

    def to_file(self, layer: int) -> LowRankPredictor:
        bias, a, b = (array.cpu().numpy() for array in (self.bias, self.a, self.b))
        return LowRankPredictor(layer, bias, a, b, self.relu)

    @classmethod
    def from_file(cls, stored: LowRankPredictor, device: torch.device | str = "cpu") -> LowRank:
        a, b, bias = (
            torch.tensor(array, dtype=torch.float32, device=device) for array in (stored.a, stored.b, stored.bias)
        )
        return cls(a, b, bias, stored.relu)


def _rounded(matrix: Tensor, dtype: PredictorDType) -> Tensor:
    values = matrix.cpu().numpy()
    stored, scales = encode_int8(values) if dtype == "int8" else (encode_floats(values, dtype), None)
    return torch.from_numpy(decode(stored, scales, dtype, values.shape[1])).to(matrix.device)
