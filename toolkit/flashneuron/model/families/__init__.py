"""One file per model family: from config.json and a checkpoint to a ModelSpec and canonical weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flashneuron.errors import ModelError
from flashneuron.model.families import bamboo, falcon, llama, minicpm, mistral, opt, qwen2, qwen3
from flashneuron.model.spec import ModelSpec
from flashneuron.model.weights import Checkpoint, TensorSource


class Family(NamedTuple):
    """How to read a family. Errors of both functions: ModelError."""

    read_spec: Callable[[dict[str, Any]], ModelSpec]
    tensor_sources: Callable[[ModelSpec, dict[str, Any], Checkpoint], Mapping[str, TensorSource]]
    bos_id: int | None = None  # where config.json has no bos_token_id
    eos_id: int | None = None
    adds_bos: bool = False  # before a prompt, where neither tokenizer.json nor its config says


# By model_type of config.json.
FAMILIES = {
    "opt": Family(opt.read_spec, opt.tensor_sources, 2, 2, adds_bos=True),
    "falcon": Family(falcon.read_spec, falcon.tensor_sources, 11, 11),
    "llama": Family(llama.read_spec, llama.tensor_sources, 1, 2),
    "mistral": Family(mistral.read_spec, mistral.tensor_sources, 1, 2),
    "qwen2": Family(qwen2.read_spec, qwen2.tensor_sources),
    "qwen3": Family(qwen3.read_spec, qwen3.tensor_sources),
    "minicpm": Family(minicpm.read_spec, minicpm.tensor_sources, 1, 2),
    "bamboo": Family(bamboo.read_spec, bamboo.tensor_sources, 1, 2),
}


def family_of(config: dict[str, Any]) -> Family:
    name = config.get("model_type")
    if name not in FAMILIES:
        raise ModelError(f"model family {name!r} is not supported; supported: {', '.join(FAMILIES)}")
    return FAMILIES[name]
