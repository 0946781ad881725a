"""The tensors of a synthetic OPT under the names of its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from flashneuron.model.families import opt
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.model.weights import Checkpoint, TensorSource
from flashneuron.synth.folder import Tensors
from flashneuron.synth.shapes import Shape


def opt_shards(shape: Shape, spec: ModelSpec, weights: Weights) -> list[Tensors]:
    """The top, then each layer."""
    top, layers = dict[str, TensorSource](), [dict[str, TensorSource]() for _ in range(spec.layers)]
    for name, source in opt.tensor_sources(spec, shape.config, Checkpoint({}, {})).items():
        if name.startswith("layers."):
            layers[int(name.split(".")[1])][name] = source
        elif name != "head.weight":  # tied
            top[name] = source
    return [partial(_stored, weights, sources) for sources in (top, *layers)]


def _stored(weights: Weights, sources: Mapping[str, TensorSource]) -> dict[str, Tensor]:
    return {source.name: _padded(weights[name], source.shape[0]) for name, source in sources.items()}


def _padded(tensor: Tensor, rows: int) -> Tensor:
    """With zeros before, where the stored table has rows that are never used."""
    missing = rows - len(tensor)
    return torch.cat([torch.zeros(missing, *tensor.shape[1:], dtype=tensor.dtype), tensor]) if missing else tensor
