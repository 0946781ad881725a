"""spec.Weights of a synthetic Falcon or Llama that exists only as a seed: every tensor is made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from torch import Tensor

from flashneuron.model.families import family_of
from flashneuron.model.spec import ModelSpec
from flashneuron.model.weights import Checkpoint
from flashneuron.predictor.lowrank import LowRank
from flashneuron.synth.biasless import BiaslessModel
from flashneuron.synth.shapes import Shape


class BiaslessWeights:
    def __init__(self, shape: Shape, seed: int, spec: ModelSpec) -> None:
        self._model = BiaslessModel(shape, seed)
        self._sources = family_of(shape.config).tensor_sources(spec, shape.config, Checkpoint({}, {}))
        # Falcon's queries, keys and values are parts of one tensor.
        self._stored: Callable[[str], Tensor] = lru_cache(1)(self._model.tensor)

    def __contains__(self, name: str) -> bool:
        return name in self._sources

    def __getitem__(self, name: str) -> Tensor:
        """fp16, a tensor that the caller may keep but not change."""
        source = self._sources[name]
        return source.convert(self._stored(source.name))

    def predictor(self, layer: int) -> LowRank:
        """Of FFN inputs that hold their own part and the common one: the design's bias, for its share of the input,
        less what the common part adds to each logit.
        """
        designed, common = self._model.neurons(layer).predictor(), self._model.common(layer)
        added = designed.b @ (designed.a @ self._model.signs().float()) * common.share
        return replace(designed, bias=designed.bias * common.spread - added)
