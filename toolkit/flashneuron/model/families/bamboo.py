"""Bamboo and TurboSparse-Mistral (SJTU): Mistral's shape with dReLU, relu(gate) · relu(up); hidden_act says relu.

TurboSparse's checkpoint carries predictors, `model.layers.I.mlp.predictor.{fc1,fc2}.weight`, which are not read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flashneuron.model.families.config import require
from flashneuron.model.families.gated import gated_sources, read_gated
from flashneuron.model.spec import ModelSpec
from flashneuron.model.weights import Checkpoint, TensorSource


def read_spec(config: dict[str, Any]) -> ModelSpec:
    require(config, hidden_act="relu", hidden_act_param=None)
    return read_gated(config, "bamboo", window=True, activation="drelu")


def tensor_sources(spec: ModelSpec, config: dict[str, Any], checkpoint: Checkpoint) -> Mapping[str, TensorSource]:
    return gated_sources(spec, config)
