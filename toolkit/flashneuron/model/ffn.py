"""One layer's feed-forward network in torch, fp32: what capture and evaluation compute between the attention blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import silu

from flashneuron.model.spec import Activation, ModelSpec, ThresholdOn, Weights


@dataclass(frozen=True)
class Ffn:
    """h · downᵀ + down_bias. A neuron is a row of `up`, of `gate` if there is one, and the same column of `down`; with
    g = x · gate and u = x · up + up_bias its hidden value h is

      relu, no gate   max(u, 0)
      relu            max(g, 0) · u
      fatrelu         g · u where g > threshold, else 0 (ProSparse, arXiv 2402.13516)
      drelu           max(g, 0) · max(u, 0) (TurboSparse, arXiv 2406.05955)
      silu            silu(g) · u where s > threshold, else 0; s = |silu(g)| (CATS, arXiv 2404.08763) or, on the
                      product, |silu(g) · u| (after TEAL, arXiv 2408.14690)

    and it fires where the condition holds: g > 0 of relu, both over 0 of drelu.
    """

    up: Tensor  # [F, d]
    up_bias: Tensor  # [F]
    down: Tensor  # [d, F]
    down_bias: Tensor  # [d]
    gate: Tensor | None = None  # [F, d]
    activation: Activation = "relu"
    threshold: float = 0.0
    threshold_on: ThresholdOn = "gate"

    @classmethod
    def load(cls, spec: ModelSpec, weights: Weights, layer: int, device: torch.device | str = "cpu") -> Ffn:
        name = f"layers.{layer}.ffn"
        parts = ("gate", "up", "down") if spec.gated else ("up", "down")
        tensors = {part: weights[f"{name}.{part}.weight"] for part in parts} | read_biases(spec, weights, layer)
        return cls.of(spec, layer, {key: tensor.to(device, torch.float32) for key, tensor in tensors.items()})

    @classmethod
    def of(cls, spec: ModelSpec, layer: int, tensors: Mapping[str, Tensor]) -> Ffn:
        """From the fields' tensors, with the model's activation and the layer's threshold."""
        found = spec.thresholds
        threshold = {"threshold": found.layers[layer], "threshold_on": found.on} if found is not None else {}
        return cls(**tensors, activation=spec.activation, **threshold)  # type: ignore[arg-type]

    def to(self, device: torch.device | str) -> Ffn:
        gate = None if self.gate is None else self.gate.to(device)
        moved = {name: getattr(self, name).to(device) for name in ("up", "up_bias", "down", "down_bias")}
        return replace(self, gate=gate, **moved)

    @property
    def neurons(self) -> int:
        return len(self.up)

    @property
    def width(self) -> int:
        return self.up.shape[1]

    @property
    def matrices(self) -> int:
        """Vectors of a neuron's record."""
        return 2 if self.gate is None else 3

    @property
    def device(self) -> torch.device:
        return self.up.device

    def linear_test(self) -> tuple[Tensor, Tensor] | None:
        """(rows [F, d], bias [F]) if `active(x)` is x · rowsᵀ + bias > 0; None where no such rows exist."""
        if self.activation in ("drelu", "silu"):
            return None
        return self.trigger, self.trigger_bias - self.threshold

    @property
    def trigger(self) -> Tensor:
        """[F, d]: the rows whose product with x decides, of silu and drelu in part, whether a neuron fires."""
        return self.up if self.gate is None else self.gate

    @property
    def trigger_bias(self) -> Tensor:
        return self.up_bias if self.gate is None else torch.zeros_like(self.up_bias)

    def strength(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """[n, d] → [n, F]; a neuron fires where this is over `threshold`."""
        if self.gate is None:
            return torch.addmm(self.up_bias, x, self.up.T, out=out)
        gate = torch.mm(x, self.gate.T, out=out)
        if self.activation == "drelu":
            return torch.minimum(gate, self._up(x), out=gate)
        if self.activation == "silu":
            gate = silu(gate, inplace=True)
            return (gate.mul_(self._up(x)) if self.threshold_on == "product" else gate).abs_()
        return gate

    def active(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """bool [n, F]: the neurons that fire. `out`: fp32 [n, F] to work in."""
        return self.strength(x, out) > self.threshold

    def hidden(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """[n, d] → [n, F]."""
        if self.gate is None:
            return torch.addmm(self.up_bias, x, self.up.T, out=out).relu_()
        gate, up = torch.mm(x, self.gate.T, out=out), self._up(x)
        if self.activation == "silu":
            gate = silu(gate, inplace=True)
            if self.threshold_on == "gate":
                return torch.nn.functional.hardshrink(gate, self.threshold).mul_(up)
            return torch.nn.functional.hardshrink(gate.mul_(up), self.threshold)
        gate = torch.nn.functional.threshold(gate, self.threshold, 0.0, inplace=True)
        return gate.mul_(up.relu_() if self.activation == "drelu" else up)

    def __call__(self, x: Tensor, selected: Tensor | None = None, scratch: Tensor | None = None) -> Tensor:
        """[n, d] → [n, d], from the neurons that `selected` (bool [n, F]) names, or all. `scratch`: fp32 [n, F]."""
        hidden = self.hidden(x, scratch)
        if selected is not None:
            hidden.mul_(selected)
        return torch.addmm(self.down_bias, hidden, self.down.T)

    def _up(self, x: Tensor) -> Tensor:
        return torch.addmm(self.up_bias, x, self.up.T)


def read_biases(spec: ModelSpec, weights: Weights, layer: int) -> dict[str, Tensor]:
    """`up_bias` [F] and `down_bias` [d], zeros where the model has none."""
    sizes = {"up": spec.ffn_size, "down": spec.hidden_size}
    names = {part: f"layers.{layer}.ffn.{part}.bias" for part in sizes}
    return {
        f"{part}_bias": weights[name] if name in weights else torch.zeros(sizes[part]) for part, name in names.items()
    }
