"""One file per model family: from config.json and a checkpoint to a ModelSpec and canonical weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flashneuron.errors import ModelError
from flashneuron.model.families import opt
from flashneuron.model.spec import ModelSpec
from flashneuron.model.weights import Checkpoint, TensorSource

Spec = Callable[[dict[str, Any]], ModelSpec]
Sources = Callable[[ModelSpec, dict[str, Any], Checkpoint], Mapping[str, TensorSource]]

# model_type of config.json → how to read it. Errors of both: ModelError.
FAMILIES: dict[str, tuple[Spec, Sources]] = {"opt": (opt.read_spec, opt.tensor_sources)}


def family_of(config: dict[str, Any]) -> tuple[Spec, Sources]:
    name = config.get("model_type")
    if name not in FAMILIES:
        raise ModelError(f"model family {name!r} is not supported; supported: {', '.join(FAMILIES)}")
    return FAMILIES[name]
