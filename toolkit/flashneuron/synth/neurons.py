"""Which neurons of a layer fire, by design: pure functions from a seed to one layer's predictor and up rows.

**Frequencies.** FFN inputs x of different tokens are nearly uncorrelated, so a neuron's share p of the tokens decides
all that the window sees: over k tokens the union is E[1 − (1−p)^k]. With p ~ Beta(A, B) the mean is 10 %, the union of
five tokens 25 %, and what a token needs beyond the four before it 2.4 % (statistics.PUBLISHED).
**Co-activation.** Neurons come in clusters of CLUSTER with similar p, whose rows share TIGHTNESS of their variance: an
order pass that finds them gets runs of three. In the model's order, a random permutation, neighbours are strangers.
**Predictor.** An up row is FIDELITY × a row of B·A + noise of full rank, so that (A, B) predicts what it should and
misses 5 %. x has mean 0 and variance 1 in every direction, so scores are normal with the row's norm as their deviation,
and biases are normal quantiles: p for the predictor, p / OVERSHOOT for the neuron itself.
A and B hold small whole numbers: products of them are exact in fp32, whatever the order of the sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flashneuron.predictor.lowrank import LowRank
from flashneuron.synth import draws
from flashneuron.synth.shapes import Shape
from flashneuron.synth.statistics import Selections

A, B = 0.175, 1.575
OVERSHOOT = 3.0
CLUSTER, TIGHTNESS = 16, 0.7
FIDELITY = 0.865  # correlation of the predictor's score with the neuron's
LATE_LAYERS = 4
TRACE_TOKENS = 768  # 2048 make no longer runs
_SMALLEST = 1e-9  # share; the quantile of a smaller one is further out than anything that happens


@dataclass(frozen=True)
class LayerNeurons:
    """Of F neurons; a and b whole numbers."""

    seed: int
    name: str
    share: Tensor  # [F]: of tokens that select the neuron
    a: Tensor  # fp32 [rank, d]
    b: Tensor  # fp32 [F, rank]
    norm: Tensor  # [F]: of the rows of b · a

    @property
    def scale(self) -> float:
        """Makes the rows of b · a about unit vectors."""
        return float(1 / self.norm.square().mean().sqrt())

    def predictor(self) -> LowRank:
        """Exact in fp16: powers of two scale whole numbers."""
        a_scale, b_scale = (2.0 ** round(np.log2(s)) for s in (0.5 / self.a.shape[1] ** 0.5 / draws.BYTE_SPREAD, 2**-8))
        bias = quantile(self.share) * self.norm * (a_scale * b_scale)
        return LowRank(self.a * a_scale, self.b * b_scale, bias)

    def deviation(self) -> Tensor:
        """[F]: of the neurons' pre-activations, about 1."""
        return ((FIDELITY * self.scale * self.norm).square() + 1 - FIDELITY**2).sqrt()

    def up_bias(self) -> Tensor:
        return quantile(self.share / OVERSHOOT) * self.deviation()

    def up(self) -> Tensor:
        """fp16 [F, d]."""
        rows, width = len(self.b), self.a.shape[1]
        noise = ((1 - FIDELITY**2) / width) ** 0.5 / draws.BYTE_SPREAD
        found = torch.empty(rows, width, dtype=torch.float16)
        for at, block in draws.blocks(self.seed, f"{self.name}.up", rows, width):
            found[at] = torch.addmm(block, self.b[at], self.a, beta=noise, alpha=FIDELITY * self.scale)
        return found

    def output_moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance [F] of the neurons' activations, of a normal pre-activation cut off at 0."""
        deviation, share = self.deviation().double(), (self.share / OVERSHOOT).double()
        bound = -quantile(share)
        density = torch.exp(-bound.square() / 2) / (2 * np.pi) ** 0.5
        mean = density - bound * share
        square = (1 + bound.square()) * share - bound * density
        return mean * deviation, (square - mean.square()).clamp_min(0) * deviation.square()


def layer_neurons(shape: Shape, seed: int, layer: int) -> LayerNeurons:
    neurons, width, name = shape.ffn_size, shape.hidden_size, f"layer {layer}"
    place = torch.from_numpy(np.argsort(draws.integers(seed, f"{name}.places", neurons), kind="stable"))
    cluster = torch.empty(neurons, dtype=torch.int64)
    cluster[place] = torch.arange(neurons) // CLUSTER
    share = torch.empty(neurons)
    share[place] = torch.from_numpy(shares(neurons)).float()
    rank = predictor_rank(shape, layer)
    a, own, common = (
        draws.matrix(seed, f"{name}.{part}", rows, columns, draws.BYTE_SPREAD).float().round()
        for part, rows, columns in (
            ("a", rank, width), ("own", neurons, rank), ("common", int(cluster.max()) + 1, rank),
        )
    )  # fmt: skip
    b = (TIGHTNESS**0.5 * common[cluster] + (1 - TIGHTNESS) ** 0.5 * own).round()
    gram = (a.double() @ a.double().T).float()
    norm = ((b @ gram) * b).sum(1).sqrt()
    return LayerNeurons(seed, name, share, a, b, norm)


def drawn_selections(
    shape: Shape, seed: int, similarity: float, tokens: int = TRACE_TOKENS
) -> Iterator[tuple[Selections, Selections]]:
    """bool [tokens, F], twice, of each layer in turn: what its predictor selects of drawn FFN inputs, independent and
    of variance 1 as those of the model's tokens are; and of the layer before, whose input has a cosine of `similarity`
    with this one's. Costs the predictors alone, so there can be more tokens than a pass over the model has: an order
    needs to see its neurons selected.
    """

    def inputs(name: str) -> Tensor:
        drawn = draws.matrix(seed, name, tokens, shape.hidden_size, 1.0).float()
        return torch.nn.functional.layer_norm(drawn, (shape.hidden_size,))

    x = inputs("selections")
    before = similarity * x + (1 - similarity**2) ** 0.5 * inputs("expectations")
    for layer in range(shape.layers):
        predictor = layer_neurons(shape, seed, layer).predictor()
        selected = predictor.selects(x).numpy()
        yield selected, predictor.selects(before).numpy() if layer else np.zeros_like(selected)


def predictor_rank(shape: Shape, layer: int) -> int:
    """LLM in a flash: 128 at d = 4096, 1024 in the last four layers; in proportion, in steps of 32."""
    late = layer >= shape.layers - min(LATE_LAYERS, shape.layers // 2)
    return min(shape.hidden_size, -(-(1024 if late else 128) * shape.hidden_size // (4096 * 32)) * 32)


def shares(count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """`count` evenly spaced quantiles of Beta(A, B), ascending. In u = p^A its density is bounded."""
    u = np.linspace(0, 1, 20001)
    density = (1 - u ** (1 / A)) ** (B - 1)
    below = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = np.interp(
        (np.arange(count) + 0.5) / count, below / below[-1], u
    )
    return found ** (1 / A)


def quantile(share: Tensor) -> Tensor:
    """Where a standard normal distribution has `share` below."""
    found: Tensor = torch.special.ndtri(share.double().clamp(_SMALLEST, 1 - _SMALLEST)).to(share.dtype)
    return found
