"""Reading config.json so that no field that changes the mathematics is passed over: what a family does not handle must
be known to be harmless, or switched off, or the model is refused with the field's name.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from flashneuron.errors import ModelError

# What transformers and trainers write that says nothing about the forward pass of a text.
_HARMLESS = frozenset({
    "architectures", "attention_dropout", "auto_map", "bos_token_id", "chunk_size_feed_forward", "dtype",
    "embd_pdrop", "eos_token_id", "flashneuron_synthetic", "hidden_dropout", "id2label", "initializer_range",
    "is_decoder", "is_llama_config", "label2id", "max_length", "model_type", "output_attentions",
    "output_hidden_states", "pad_token_id", "pretraining_tp", "problem_type", "residual_dropout", "resid_pdrop",
    "return_dict", "tie_word_embeddings", "tokenizer_class", "torch_dtype", "torchscript",
    "transformers.js_config", "transformers_version", "unk_token_id", "use_cache",
    # How older versions of transformers would sample.
    "bad_words_ids", "begin_suppress_tokens", "diversity_penalty", "do_sample", "early_stopping",
    "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id",
    "length_penalty", "min_length", "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_return_sequences",
    "output_scores", "remove_invalid_values", "repetition_penalty", "return_dict_in_generate", "sep_token_id",
    "suppress_tokens", "temperature", "top_k", "top_p", "typical_p",
})  # fmt: skip


def refuse_unknown(config: dict[str, Any], family: str, handled: Collection[str]) -> None:
    """Errors: ModelError naming the first field that is neither handled, harmless nor off (null or false)."""
    if config.get("quantization_config") is not None:
        raise ModelError("config.json: quantization_config: quantised checkpoints are not supported; use the float one")
    for name, value in config.items():
        known = name in handled or name in _HARMLESS or name.startswith("_")
        if not known and value is not None and value is not False:
            what = f"config.json: {name}={value!r} is not supported for {family}: it may change what the model computes"
            raise ModelError(f"{what}; if it does not, remove it from config.json")


def require(config: dict[str, Any], **expected: Any) -> None:
    """Fields that may only have one value, which is the default too. Errors: ModelError."""
    for name, value in expected.items():
        if (found := config.get(name)) not in (None, value):
            raise ModelError(f"config.json: {name}={found!r} is not supported; supported: {name}={value!r}")


def whole(config: dict[str, Any], name: str, default: int | None = None) -> int:
    """A number from 1. Errors: ModelError."""
    value = default if config.get(name) is None else config[name]
    if value is None:
        raise ModelError(f"config.json lacks {name}; fetch the model folder again")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelError(f"config.json: {name} is {value!r}, expected a whole number from 1")
    return value


def positive(config: dict[str, Any], name: str, default: float | None = None) -> float:
    """A number over 0. Errors: ModelError."""
    value = default if config.get(name) is None else config[name]
    if value is None:
        raise ModelError(f"config.json lacks {name}; fetch the model folder again")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ModelError(f"config.json: {name} is {value!r}, expected a number over 0")
    return float(value)


def flag(config: dict[str, Any], name: str, default: bool = False) -> bool:
    """Errors: ModelError."""
    value = default if config.get(name) is None else config[name]
    if not isinstance(value, bool):
        raise ModelError(f"config.json: {name} is {value!r}, expected true or false")
    return value
