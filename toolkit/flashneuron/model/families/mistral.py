"""Mistral: Llama's shape with grouped keys. Its sliding window bounds the context: layers here see all tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flashneuron.model.families.gated import gated_sources, read_gated
from flashneuron.model.spec import ModelSpec
from flashneuron.model.weights import Checkpoint, TensorSource

_KV_HEADS, _WINDOW = 8, 4096  # where config.json does not say


def read_spec(config: dict[str, Any]) -> ModelSpec:
    return read_gated({"num_key_value_heads": _KV_HEADS, "sliding_window": _WINDOW} | config, "mistral", window=True)


def tensor_sources(spec: ModelSpec, config: dict[str, Any], checkpoint: Checkpoint) -> Mapping[str, TensorSource]:
    return gated_sources(spec, config)
