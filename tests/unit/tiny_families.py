"""Small random models of every family, made by transformers' own classes where it has them, and written to folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_opt
import torch
import transformers
from reference_models import Bamboo, MiniCpm, fatrelu
from torch import nn

VOCAB = tiny_opt.VOCAB
_GATED = {
    "vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "attn_implementation": "eager",
    "bos_token_id": 2, "eos_token_id": 2,
}  # fmt: skip
_FALCON = {
    "vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2, "ffn_hidden_size": 48, "num_attention_heads": 4,
    "max_position_embeddings": 64, "activation": "relu", "attn_implementation": "eager", "bos_token_id": 2,
    "eos_token_id": 2,
}  # fmt: skip
_LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 1000.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
_YARN = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 16}


def _gated(name: str, **changes: Any) -> Callable[[], nn.Module]:
    return lambda: _random(getattr(transformers, f"{name}ForCausalLM"), getattr(transformers, f"{name}Config"), changes)


def _falcon(**changes: Any) -> Callable[[], nn.Module]:
    config = transformers.FalconConfig(**(_FALCON | changes))
    return lambda: _randomized(lambda: transformers.FalconForCausalLM(config))


def _random(model: Any, config: Any, changes: dict[str, Any]) -> nn.Module:
    return _randomized(lambda: model(config(**(_GATED | changes))))


def _prosparse() -> nn.Module:
    """The checkpoint's config names an activation that transformers does not have: put in after loading."""
    model = _gated("Llama", hidden_act="relu")()
    for layer in model.model.layers:
        layer.mlp.act_fn = fatrelu(0.05)
    model.config.hidden_act, model.config.hidden_act_param = "fatrelu", 0.05
    return model


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "relullama": _gated("Llama", hidden_act="relu"),
    "prosparse": _prosparse,
    "llama": _gated("Llama"),
    "llama, biased, tied": _gated("Llama", attention_bias=True, tie_word_embeddings=True, rope_parameters=_LLAMA3),
    "llama, wide heads": _gated("Llama", head_dim=16, rope_parameters=_YARN),
    "mistral": _gated("Mistral", hidden_act="relu", sliding_window=None),
    "qwen2": _gated("Qwen2", rope_parameters={"rope_type": "linear", "rope_theta": 5000.0, "factor": 2.0}),
    "qwen3": _gated("Qwen3", head_dim=8, tie_word_embeddings=True),
    "falcon-7b": _falcon(),
    "falcon-40b": _falcon(new_decoder_architecture=True, num_kv_heads=2),
    "falcon-11b": _falcon(new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=1),
    # transformers 5.23's "eager" attention adds ALiBi twice, its sdpa once as the model was trained.
    "falcon-rw": _falcon(alibi=True, multi_query=False, parallel_attn=False, bias=True, attn_implementation="sdpa"),
    "minicpm-s": lambda: _randomized(lambda: MiniCpm(_GATED)),
    "bamboo": lambda: _randomized(lambda: Bamboo(_GATED)),
}


def make(name: str) -> Any:
    """fp32, in evaluation mode. `model(ids [1, n]).logits` [1, n, VOCAB]; biases and norms are random too."""
    return MAKERS[name]()


def save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tiny_opt.write_tokenizer(folder)
    return folder


def _randomized(make_model: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(3)
    model = make_model().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model
