"""Architectures of true size, as their config.json says them. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flashneuron.errors import InputError

MARKER = "flashneuron_synthetic"  # config.json: true; open_model reads it


@dataclass(frozen=True)
class Shape:
    name: str
    config: dict[str, Any]  # config.json

    @property
    def family(self) -> str:
        return str(self.config["model_type"])

    @property
    def layers(self) -> int:
        return int(self.config["num_hidden_layers"])

    @property
    def hidden_size(self) -> int:
        return int(self.config["hidden_size"])

    @property
    def ffn_size(self) -> int:
        return int(self.config.get("ffn_dim") or self.config.get("intermediate_size") or self.config["ffn_hidden_size"])

    @property
    def heads(self) -> int:
        return int(self.config["num_attention_heads"])

    @property
    def vocab_size(self) -> int:
        return int(self.config["vocab_size"])


def shape_named(name: str) -> Shape:
    """Error: InputError with the names there are."""
    if name not in SHAPES:
        raise InputError(f"no shape '{name}'; there are {', '.join(SHAPES)}")
    return SHAPES[name]


def opt(name: str, layers: int, hidden: int, heads: int, vocabulary: int = 50272, context: int = 2048) -> Shape:
    config = {
        "architectures": ["OPTForCausalLM"], "model_type": "opt", "torch_dtype": "float16", MARKER: True,
        "activation_function": "relu", "do_layer_norm_before": True, "tie_word_embeddings": True,
        "num_hidden_layers": layers, "hidden_size": hidden, "ffn_dim": 4 * hidden, "num_attention_heads": heads,
        "word_embed_proj_dim": hidden, "vocab_size": vocabulary, "max_position_embeddings": context,
        "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1,
    }  # fmt: skip
    return Shape(name, config)


_FALCON = {
    "architectures": ["FalconForCausalLM"], "model_type": "falcon", "torch_dtype": "float16", MARKER: True,
    "activation": "relu", "alibi": False, "bias": False, "multi_query": True, "parallel_attn": True,
    "new_decoder_architecture": False, "tie_word_embeddings": True, "layer_norm_epsilon": 1e-5,
    "num_hidden_layers": 32, "hidden_size": 4544, "ffn_hidden_size": 18176, "num_attention_heads": 71,
    "vocab_size": 65024, "max_position_embeddings": 2048, "bos_token_id": 2, "eos_token_id": 2,
}  # fmt: skip
_LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16", MARKER: True,
    "hidden_act": "relu", "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False,
    "rms_norm_eps": 1e-5, "num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 11008,
    "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096,
    "bos_token_id": 2, "eos_token_id": 2,
}  # fmt: skip

SHAPES = {
    shape.name: shape
    for shape in (
        opt("opt-125m", 12, 768, 12),
        opt("opt-1.3b", 24, 2048, 32),
        opt("opt-2.7b", 32, 2560, 32),
        opt("opt-6.7b", 32, 4096, 32),
        opt("opt-13b", 40, 5120, 40),
        opt("opt-30b", 48, 7168, 56),
        opt("opt-66b", 64, 9216, 72),
        Shape("falcon-7b", _FALCON),
        Shape("llama-2-7b", _LLAMA),
    )
}
