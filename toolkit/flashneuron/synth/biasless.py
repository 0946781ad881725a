"""Falcon and ReLU-fied Llama under the names of their checkpoints. Their projections have no biases, so a part that all
tokens share stands in for them: FFN inputs are z + c·s, z being the token's own part and s fixed random signs.

Falcon's norm adds c·s; Llama's only scales, so the token rows hold it. An up (gate) row w gets γ·s added such that its
product with c·s is the bias that `neurons` wants. A down matrix is made to give 0 for the mean activation.
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class BiaslessModel:
    shape: Shape
    seed: int

    def shards(self) -> list[Tensors]:
        falcon = self.shape.family == "falcon"
        top, layer = (self._falcon_top, self._falcon_layer) if falcon else (self._llama_top, self._llama_layer)
        return [top, *(partial(layer, number) for number in range(self.shape.layers))]

    def _falcon_top(self) -> dict[str, Tensor]:
        ones, zeros = self._ones(), torch.zeros_like(self._ones())
        return {
            "transformer.word_embeddings.weight": self._tokens("tokens"),
            "transformer.ln_f.weight": ones * self._signs("final signs"),
            "transformer.ln_f.bias": zeros,
        }

    def _falcon_layer(self, layer: int) -> dict[str, Tensor]:
        shape, d, name = self.shape, self.shape.hidden_size, f"transformer.h.{layer}"
        neurons = layer_neurons(shape, self.seed, layer)
        mean, variance = neurons.output_moments()
        return {
            f"{name}.input_layernorm.weight": self._ones(),
            f"{name}.input_layernorm.bias": self._signs("signs") * COMMON,
            f"{name}.self_attention.query_key_value.weight": self._attention(layer, "qkv", d + 2 * d // shape.heads),
            f"{name}.self_attention.dense.weight": self._attention(layer, "o", d),
            f"{name}.mlp.dense_h_to_4h.weight": self._biased(neurons.up(), neurons.up_bias(), COMMON),
            f"{name}.mlp.dense_4h_to_h.weight": self._down(layer, mean, variance),
        }

    def _llama_top(self) -> dict[str, Tensor]:
        return {
            "model.embed_tokens.weight": self._tokens("tokens").add_(self._signs("signs") * COMMON),
            "model.norm.weight": self._ones(),
            "lm_head.weight": self._tokens("head"),
        }

    def _llama_layer(self, layer: int) -> dict[str, Tensor]:
        d, name = self.shape.hidden_size, f"model.layers.{layer}"
        neurons = layer_neurons(self.shape, self.seed, layer)
        tensors = {f"{name}.{norm}.weight": self._ones() for norm in ("input_layernorm", "post_attention_layernorm")}
        tensors |= {f"{name}.self_attn.{part}_proj.weight": self._attention(layer, part, d) for part in "qkvo"}
        return tensors | {
            f"{name}.mlp.gate_proj.weight": self._gate(layer, neurons),
            f"{name}.mlp.up_proj.weight": self._matrix(f"layer {layer}.value", self.shape.ffn_size, d, 1 / d),
            f"{name}.mlp.down_proj.weight": self._down(layer, *_gated_moments(neurons)),
        }

    def _gate(self, layer: int, neurons: LayerNeurons) -> Tensor:
        own = self._variance(layer + 0.5)  # of z, attention having added its part
        common = COMMON / (own + COMMON**2) ** 0.5
        return self._biased(neurons.up(), neurons.up_bias() * (1 - common**2) ** 0.5, common)

    def _biased(self, rows: Tensor, bias: Tensor, common: float) -> Tensor:
        """Rows whose product with common · s is `bias`; in place."""
        signs, width = self._signs("signs").float(), rows.shape[1]
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
