"""What each layer's attention sees on real text: inputs for calibration of integers and for measuring errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flashneuron.export.static_graphs import StaticGraph
from flashneuron.export.texts import Ids
from flashneuron.model.blocks import AttentionBlock, empty_cache
from flashneuron.model.ffn import Ffn
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.model.standard_attention import causal_mask

MAX_TOKENS = 1024
SAMPLES = 64  # calls of a graph that its integers' ranges come from

GraphInputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]  # of StandardBlock, caches fp16


@dataclass(frozen=True)
class LayerInputs:
    """One text through one layer, fp32: residual, ffn_out [n, d]; k, v [n, kv] that the layer makes of it."""

    residual: Tensor
    ffn_out: Tensor
    k: Tensor
    v: Tensor

    def at(self, graph: StaticGraph, position: int) -> GraphInputs:
        """The graph's inputs for its tokens from `position` on, and the rows before them in the cache."""
        span = slice(position, position + graph.tokens)
        caches = torch.zeros(2, graph.cached, self.k.shape[1], dtype=torch.float16)
        caches[0, :position], caches[1, :position] = self.k[:position], self.v[:position]
        mask = causal_mask(graph.tokens, graph.cached, position)
        return self.residual[span], self.ffn_out[span], caches[0], caches[1], mask

    def positions(self, graph: StaticGraph, count: int) -> list[int]:
        """At most `count` evenly spread positions that the graph and the text allow, the first ones among them."""
        last = min(graph.cached, len(self.residual) - graph.tokens)
        return sorted({*range(min(4, last + 1)), *np.linspace(0, last, count).astype(int).tolist()})


def calibration_ids(sequences: Sequence[Ids], spec: ModelSpec) -> Ids:
    """The beginning of the text, at most a context of it; without a text, random ids."""
    count = min(spec.max_context, MAX_TOKENS)
    if not sequences:
        return np.random.default_rng(0).integers(0, spec.vocab_size, count)
    return np.concatenate(sequences[:count])[:count]


class TextPass:
    """One text through a model, FFNs computed whole. Reads the model once and holds one layer."""

    def __init__(self, spec: ModelSpec, weights: Weights, ids: Ids) -> None:
        self._spec, self._weights = spec, weights
        residual = weights["embed.tokens"][torch.from_numpy(ids.astype(np.int64))].float()
        if "embed.project_in" in weights:
            residual = residual @ weights["embed.project_in"].float().T
        if spec.position_rows:
            residual = residual + weights["embed.positions"][: len(ids)].float()
        self.residual, self.ffn_out = residual, torch.zeros_like(residual)  # [n, d], input of the next block

    @torch.no_grad()
    def layers(self) -> Iterator[tuple[AttentionBlock, LayerInputs]]:
        """Each layer in turn with what it sees; at the end `residual` and `ffn_out` are the head's input."""
        spec, cache, start = self._spec, empty_cache(self._spec), torch.zeros(1, dtype=torch.int64)
        for layer in range(spec.layers):
            block = AttentionBlock(spec, layer, self._weights).eval()
            residual, ffn_input, k, v = block(self.residual, self.ffn_out, cache, cache, start)
            yield block, LayerInputs(self.residual, self.ffn_out, k, v)
            self.residual, self.ffn_out = residual, Ffn.load(spec, self._weights, layer)(ffn_input)
