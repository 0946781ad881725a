"""spec.Weights of an OPT that exists only as a seed: every tensor is made when it is asked for.

Token rows are independent, so tokens are. Each layer adds GROWTH of the residual's variance: FFN inputs some layers
apart stay alike, and the token dominates. FFN outputs have mean 0 over tokens (the down bias), else all tokens would
drift the same way. The final norm's weights are random signs: with a tied head the likeliest next token would otherwise
be the token itself, for ever, and generated text would need no new neuron.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache, partial

import torch
from torch import Tensor

from flashneuron.predictor.lowrank import LowRank
from flashneuron.synth import draws
from flashneuron.synth.neurons import LayerNeurons, layer_neurons
from flashneuron.synth.shapes import Shape

TOKEN_SPREAD = 0.5
POSITION_SPREAD = 0.05
GROWTH = 0.027  # (1 + GROWTH)^−2 = 0.95: cosine of inputs four layers apart
ATTENTION_SHARE = 0.1  # of a layer's GROWTH, for a token that sees itself alone


class SyntheticWeights:
    def __init__(self, shape: Shape, seed: int) -> None:
        self._shape, self._seed = shape, seed
        self.neurons: Callable[[int], LayerNeurons] = lru_cache(1)(lambda layer: layer_neurons(shape, seed, layer))
        self._down: Callable[[int], Tensor] = lru_cache(1)(self._make_down)

    def __contains__(self, name: str) -> bool:
        head, _, rest = name.partition(".")
        if head != "layers":
            return name in self._top
        layer, _, part = rest.partition(".")
        return layer.isdecimal() and int(layer) < self._shape.layers and part in self._parts

    def __getitem__(self, name: str) -> Tensor:
        """fp16, a tensor that the caller may keep but not change."""
        if name not in self:
            raise KeyError(name)
        if not name.startswith("layers."):
            return self._top[name]().half()
        _, layer, part = name.split(".", 2)
        return self._parts[part](int(layer)).half()

    @cached_property
    def _top(self) -> dict[str, Callable[[], Tensor]]:
        config, d, vocabulary = self._shape.config, self._shape.hidden_size, self._shape.vocab_size
        positions = int(config["max_position_embeddings"])

        def tokens() -> Tensor:
            return self._matrix("tokens", vocabulary, d, TOKEN_SPREAD)

        return {
            "embed.tokens": tokens,
            "embed.positions": lambda: self._matrix("positions", positions, d, POSITION_SPREAD),
            "final_norm.weight": lambda: self._matrix("signs", 1, d, 1.0)[0].sign(),
            "final_norm.bias": lambda: torch.zeros(d),
            "head.weight": tokens,
        }

    @cached_property
    def _parts(self) -> dict[str, Callable[[int], Tensor]]:
        d = self._shape.hidden_size
        found: dict[str, Callable[[int], Tensor]] = {
            "ffn.up.weight": lambda layer: self.neurons(layer).up(),
            "ffn.up.bias": lambda layer: self.neurons(layer).up_bias(),
            "ffn.down.weight": self._down_of,
            "ffn.down.bias": self._down_bias,
        }
        for norm in ("attn_norm", "ffn_norm"):
            found[f"{norm}.weight"] = lambda layer: torch.ones(d)
            found[f"{norm}.bias"] = lambda layer: torch.zeros(d)
        for part in "qkvo":
            found[f"attn.{part}.weight"] = partial(self._attention, part)
            found[f"attn.{part}.bias"] = lambda layer: torch.zeros(d)
        return found

    def predictor(self, layer: int) -> LowRank:
        return self.neurons(layer).predictor()

    def residual_variance(self, layer: int) -> float:
        """Of an element of the residual stream that enters the layer."""
        return (TOKEN_SPREAD**2 + POSITION_SPREAD**2) * (1 + GROWTH) ** layer

    def _step(self, layer: int) -> float:
        return GROWTH * self.residual_variance(layer)

    def _attention(self, part: str, layer: int) -> Tensor:
        """Queries, keys and values of variance 1."""
        d = self._shape.hidden_size
        variance = ATTENTION_SHARE * self._step(layer) if part == "o" else 1.0
        return self._matrix(f"layer {layer}.{part}", d, d, (variance / d) ** 0.5)

    def _down_of(self, layer: int) -> Tensor:
        return self._down(layer)

    def _make_down(self, layer: int) -> Tensor:
        _, variance = self.neurons(layer).output_moments()
        spread = ((1 - ATTENTION_SHARE) * self._step(layer) / float(variance.sum())) ** 0.5
        return self._matrix(f"layer {layer}.down", self._shape.hidden_size, self._shape.ffn_size, spread)

    def _down_bias(self, layer: int) -> Tensor:
        mean, _ = self.neurons(layer).output_moments()
        return -torch.cat([rows.float() @ mean.float() for rows in draws.parts(self._down(layer))])

    def _matrix(self, name: str, rows: int, width: int, spread: float) -> Tensor:
        return draws.matrix(self._seed, name, rows, width, spread)
