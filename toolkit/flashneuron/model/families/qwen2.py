"""Qwen2 and Qwen2.5 (Alibaba): Llama's shape, with biases of queries, keys and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flashneuron.model.families.gated import gated_sources, read_gated
from flashneuron.model.spec import ModelSpec
from flashneuron.model.weights import Checkpoint, TensorSource

DEFAULTS = {"num_key_value_heads": 32, "use_sliding_window": False, "sliding_window": 4096}


def read_spec(config: dict[str, Any]) -> ModelSpec:
    return read_gated(DEFAULTS | config, "qwen2", window=True)


def tensor_sources(spec: ModelSpec, config: dict[str, Any], checkpoint: Checkpoint) -> Mapping[str, TensorSource]:
    return gated_sources(spec, config, qkv_bias=True)
