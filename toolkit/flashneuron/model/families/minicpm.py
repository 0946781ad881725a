"""MiniCPM and MiniCPM-S (OpenBMB): Llama's shape with multipliers of token rows, of what layers add, and of logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flashneuron.model.families.config import positive, require, whole
from flashneuron.model.families.gated import gated_sources, read_gated
from flashneuron.model.spec import ModelSpec
from flashneuron.model.weights import Checkpoint, TensorSource

_MULTIPLIERS = ("scale_emb", "scale_depth", "dim_model_base")


def read_spec(config: dict[str, Any]) -> ModelSpec:
    require(config, attention_bias=False, num_experts=0)
    depth = positive(config, "scale_depth", 1.0)
    return read_gated(
        config,
        "minicpm",
        (*_MULTIPLIERS, "attention_bias", "num_experts"),
        embedding_scale=positive(config, "scale_emb", 1.0),
        residual_scale=depth / whole(config, "num_hidden_layers") ** 0.5,
        logit_scale=positive(config, "dim_model_base", 1.0) / whole(config, "hidden_size"),
    )


def tensor_sources(spec: ModelSpec, config: dict[str, Any], checkpoint: Checkpoint) -> Mapping[str, TensorSource]:
    return gated_sources(spec, config, tied=True)
