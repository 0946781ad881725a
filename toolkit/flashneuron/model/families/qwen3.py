"""Qwen3 (Alibaba), dense: Llama's shape, with a norm of each head's queries and keys before they are rotated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flashneuron.model.families import qwen2
from flashneuron.model.families.config import flag
from flashneuron.model.families.gated import gated_sources, read_gated
from flashneuron.model.spec import ModelSpec
from flashneuron.model.weights import Checkpoint, TensorSource

_HEAD_SIZE = 128  # where config.json does not say


def read_spec(config: dict[str, Any]) -> ModelSpec:
    return read_gated(qwen2.DEFAULTS | {"head_dim": _HEAD_SIZE} | config, "qwen3", ("attention_bias",), window=True)


def tensor_sources(spec: ModelSpec, config: dict[str, Any], checkpoint: Checkpoint) -> Mapping[str, TensorSource]:
    biased = flag(config, "attention_bias")
    return gated_sources(spec, config, qkv_bias=biased, o_bias=biased, head_norms=True)
