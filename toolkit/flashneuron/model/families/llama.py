"""Llama (Meta) and what has its shape under its name: SmolLM2; ReluLLaMA (hidden_act relu); ProSparse (fatrelu)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flashneuron.errors import ModelError
from flashneuron.model.families.config import flag
from flashneuron.model.families.gated import gated_sources, read_gated
from flashneuron.model.spec import ModelSpec
from flashneuron.model.weights import Checkpoint, TensorSource


def read_spec(config: dict[str, Any]) -> ModelSpec:
    if flag(config, "mlp_bias"):
        raise ModelError("config.json: mlp_bias=true is not supported: a gate's bias has no place in a package")
    return read_gated(config, "llama", ("attention_bias", "mlp_bias"))


def tensor_sources(spec: ModelSpec, config: dict[str, Any], checkpoint: Checkpoint) -> Mapping[str, TensorSource]:
    biased = flag(config, "attention_bias")
    return gated_sources(spec, config, qkv_bias=biased, o_bias=biased)
