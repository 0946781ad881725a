"""Predictors that a checkpoint carries among its weights, as TurboSparse's do (arXiv 2406.05955)."""

from __future__ import annotations

from flashneuron.errors import ModelError
from flashneuron.model.spec import ModelSpec
from flashneuron.model.weights import Checkpoint, TensorSource

_PART = ".mlp.predictor."


def predictor_sources(spec: ModelSpec, checkpoint: Checkpoint) -> dict[str, TensorSource]:
    """Canonical name → stored tensor; empty where there are none. Error: ModelError for some without the others."""
    found = {name for name in checkpoint.files if _PART in name}
    if not found:
        return {}
    sources = {}
    for layer in range(spec.layers):
        first, second = (f"model.layers.{layer}{_PART}{name}.weight" for name in ("fc1", "fc2"))
        for name in (first, second):
            if name not in found:
                raise ModelError(f"the weights carry predictors, but lack {name}; the folder is incomplete")
        found -= {first, second}
        rank = next(iter(checkpoint.shapes[first]), 0)
        sources[f"layers.{layer}.predictor.fc1.weight"] = TensorSource(first, (rank, spec.hidden_size))
        sources[f"layers.{layer}.predictor.fc2.weight"] = TensorSource(second, (spec.ffn_size, rank))
    if found:
        raise ModelError(f"the weights carry predictors of an unknown kind: {min(found)} has no place in them")
    return sources
