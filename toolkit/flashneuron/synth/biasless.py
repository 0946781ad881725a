"""Falcon and ReLU-fied Llama under the names of their checkpoints. Their projections have no biases, so a part that all
tokens share stands in for them: FFN inputs are z + c·s, z being the token's own part and s fixed random signs.

Falcon's norm adds c·s; Llama's only scales, so the token rows hold it. An up (gate) row w gets γ·s added such that its
product with c·s is the bias that `neurons` wants. A down matrix is made to give 0 for the mean activation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from flashneuron.synth import draws
from flashneuron.synth.folder import Tensors
from flashneuron.synth.neurons import LayerNeurons, layer_neurons
from flashneuron.synth.shapes import Shape
from flashneuron.synth.weights import ATTENTION_SHARE, GROWTH, TOKEN_SPREAD

COMMON = 0.25  # c, for Falcon of the norm's output, for Llama of a token row

Makers = dict[str, Callable[[], Tensor]]  # stored name → what makes the tensor


@dataclass(frozen=True)
class CommonPart:
    """An FFN input is spread · z + share · s, z of variance 1."""

    share: float
    spread: float


@dataclass(frozen=True)
class BiaslessModel:
    shape: Shape
    seed: int

    def shards(self) -> list[Tensors]:
        """The top, then each layer."""
        return [partial(self._made, layer) for layer in (None, *range(self.shape.layers))]

    def tensor(self, stored: str) -> Tensor:
        """fp16, by its name in a checkpoint. Error: KeyError."""
        layer = next((int(part) for part in stored.split(".") if part.isdecimal()), None)
        return self._makers(layer)[stored]()

    def neurons(self, layer: int) -> LayerNeurons:
        return layer_neurons(self.shape, self.seed, layer)

    def common(self, layer: int) -> CommonPart:
        if self.shape.family == "falcon":
            return CommonPart(COMMON, 1.0)
        own = self._variance(layer + 0.5)  # of z in the residual, attention having added its part
        share = COMMON / (own + COMMON**2) ** 0.5
        return CommonPart(share, (1 - share**2) ** 0.5)

    def signs(self) -> Tensor:
        """s, fp16 [d]."""
        return self._signs("signs")

    def _made(self, layer: int | None) -> dict[str, Tensor]:
        return {name: make() for name, make in self._makers(layer).items()}

    def _makers(self, layer: int | None) -> Makers:
        """None: of the top."""
        falcon = self.shape.family == "falcon"
        if layer is None:
            return self._falcon_top() if falcon else self._llama_top()
        return self._falcon_layer(layer) if falcon else self._llama_layer(layer)

    def _falcon_top(self) -> Makers:
        return {
            "transformer.word_embeddings.weight": lambda: self._tokens("tokens"),
            "transformer.ln_f.weight": lambda: self._ones() * self._signs("final signs"),
            "transformer.ln_f.bias": lambda: torch.zeros_like(self._ones()),
        }

    def _falcon_layer(self, layer: int) -> Makers:
        shape, d, name = self.shape, self.shape.hidden_size, f"transformer.h.{layer}"
        fused = d + 2 * d // shape.heads
        return {
            f"{name}.input_layernorm.weight": self._ones,
            f"{name}.input_layernorm.bias": lambda: self.signs() * COMMON,
            f"{name}.self_attention.query_key_value.weight": lambda: self._attention(layer, "qkv", fused),
            f"{name}.self_attention.dense.weight": lambda: self._attention(layer, "o", d),
            f"{name}.mlp.dense_h_to_4h.weight": lambda: self._biased(layer),
            f"{name}.mlp.dense_4h_to_h.weight": lambda: self._down(layer, *self.neurons(layer).output_moments()),
        }

    def _llama_top(self) -> Makers:
        return {
            "model.embed_tokens.weight": lambda: self._tokens("tokens").add_(self.signs() * COMMON),
            "model.norm.weight": self._ones,
            "lm_head.weight": lambda: self._tokens("head"),
        }

    def _llama_layer(self, layer: int) -> Makers:
        d, ffn, name = self.shape.hidden_size, self.shape.ffn_size, f"model.layers.{layer}"
        found: Makers = {
            f"{name}.{norm}.weight": self._ones for norm in ("input_layernorm", "post_attention_layernorm")
        }
        found |= {f"{name}.self_attn.{part}_proj.weight": partial(self._attention, layer, part, d) for part in "qkvo"}
        return found | {
            f"{name}.mlp.gate_proj.weight": lambda: self._biased(layer),
            f"{name}.mlp.up_proj.weight": lambda: self._matrix(f"layer {layer}.value", ffn, d, 1 / d),
            f"{name}.mlp.down_proj.weight": lambda: self._down(layer, *_gated_moments(self.neurons(layer))),
        }

    def _biased(self, layer: int) -> Tensor:
        """The rows that decide who fires: their product with the common part is the bias of the design."""
        neurons, found = self.neurons(layer), self.common(layer)
        rows, bias, common = neurons.up(), neurons.up_bias() * found.spread, found.share
        signs, width = self.signs().float(), rows.shape[1]
        for part, wanted in zip(draws.parts(rows), draws.parts(bias), strict=True):
            missing = wanted / common - part.float() @ signs
            part += torch.outer(missing / width, signs).half()
        return rows

    def _down(self, layer: int, mean: Tensor, variance: Tensor) -> Tensor:
        """[d, F]; 0 of the mean activation."""
        step = (1 - ATTENTION_SHARE) * GROWTH * self._variance(layer)
        rows = self._matrix(f"layer {layer}.down", self.shape.hidden_size, len(mean), step / float(variance.sum()))
        mean = mean.float()
        if size := float(mean.square().sum()):
            for part in draws.parts(rows):
                part -= torch.outer(part.float() @ mean / size, mean).half()
        return rows

    def _attention(self, layer: int, part: str, rows: int) -> Tensor:
        variance = ATTENTION_SHARE * GROWTH * self._variance(layer) if part == "o" else 1.0
        return self._matrix(f"layer {layer}.{part}", rows, self.shape.hidden_size, variance / self.shape.hidden_size)

    def _variance(self, layer: float) -> float:
        found: float = TOKEN_SPREAD**2 * (1 + GROWTH) ** layer
        return found

    def _tokens(self, name: str) -> Tensor:
        return self._matrix(name, self.shape.vocab_size, self.shape.hidden_size, TOKEN_SPREAD**2)

    def _matrix(self, name: str, rows: int, width: int, variance: float) -> Tensor:
        return draws.matrix(self.seed, name, rows, width, variance**0.5)

    def _ones(self) -> Tensor:
        return torch.ones(self.shape.hidden_size, dtype=torch.float16)

    def _signs(self, name: str) -> Tensor:
        return self._matrix(name, 1, self.shape.hidden_size, 1.0)[0].sign()


def _gated_moments(neurons: LayerNeurons) -> tuple[Tensor, Tensor]:
    """Of gate activation × an independent value of mean 0 and variance 1."""
    mean, variance = neurons.output_moments()
    return torch.zeros_like(mean), variance + mean.square()
