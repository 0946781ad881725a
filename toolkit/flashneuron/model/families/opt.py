"""OPT (Meta): ReLU, learned positions, every projection with a bias; 350m alone is post-LN with a narrow embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flashneuron.errors import ModelError
from flashneuron.model.spec import ModelSpec
from flashneuron.model.weights import Checkpoint, TensorSource

_POSITION_OFFSET = 2  # the first rows of OPT's position table are never used
_PREFIXES = ("model.decoder.", "decoder.")  # since transformers 4.19; before
_DEFAULTS = {
    "vocab_size": 50272,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "ffn_dim": 3072,
    "num_attention_heads": 12,
    "max_position_embeddings": 2048,
}


def read_spec(config: dict[str, Any]) -> ModelSpec:
    """Facts but for the prompt prefix and end tokens, which the folder's tokenizer and generation config decide."""
    _refuse_unsupported(config)
    size = {name: config.get(name, default) for name, default in _DEFAULTS.items()}
    for name, value in size.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ModelError(f"config.json: {name} is {value!r}, expected a whole number from 1")
    hidden, heads = size["hidden_size"], size["num_attention_heads"]
    if hidden % heads:
        raise ModelError(f"config.json: hidden_size {hidden} is not a multiple of num_attention_heads {heads}")
    pre_norm = config.get("do_layer_norm_before", True)
    return ModelSpec(
        family="opt",
        activation="relu",
        layers=size["num_hidden_layers"],
        hidden_size=hidden,
        ffn_size=size["ffn_dim"],
        heads=heads,
        kv_heads=heads,
        head_size=hidden // heads,
        vocab_size=size["vocab_size"],
        max_context=size["max_position_embeddings"],
        position_rows=size["max_position_embeddings"],
        norm="pre" if pre_norm else "post",
        norm_epsilon=1e-5,
        final_norm=bool(pre_norm and not config.get("_remove_final_layer_norm", False)),
        prompt_prefix_ids=(),
        eos_token_ids=(),
    )


def tensor_sources(spec: ModelSpec, config: dict[str, Any], checkpoint: Checkpoint) -> Mapping[str, TensorSource]:
    """Canonical name → stored tensor."""
    prefix = next((p for p in _PREFIXES if f"{p}embed_tokens.weight" in checkpoint.files), _PREFIXES[0])
    d, width = spec.hidden_size, config.get("word_embed_proj_dim") or spec.hidden_size
    sources: dict[str, TensorSource] = {}

    def add(name: str, stored: str, *shape: int) -> None:
        sources[name] = TensorSource(prefix + stored, shape)

    def add_pair(name: str, stored: str, *shape: int) -> None:
        add(f"{name}.weight", f"{stored}.weight", *shape)
        add(f"{name}.bias", f"{stored}.bias", shape[0])

    add("embed.tokens", "embed_tokens.weight", spec.vocab_size, width)
    rows = spec.position_rows + _POSITION_OFFSET
    positions = TensorSource(f"{prefix}embed_positions.weight", (rows, d), lambda table: table[_POSITION_OFFSET:])
    sources["embed.positions"] = positions
    if width != d:
        add("embed.project_in", "project_in.weight", d, width)
        add("head.project_out", "project_out.weight", width, d)
    for i in range(spec.layers):
        layer, stored = f"layers.{i}", f"layers.{i}"
        add_pair(f"{layer}.attn_norm", f"{stored}.self_attn_layer_norm", d)
        for part in "qkv":
            add_pair(f"{layer}.attn.{part}", f"{stored}.self_attn.{part}_proj", d, d)
        add_pair(f"{layer}.attn.o", f"{stored}.self_attn.out_proj", d, d)
        add_pair(f"{layer}.ffn_norm", f"{stored}.final_layer_norm", d)
        add_pair(f"{layer}.ffn.up", f"{stored}.fc1", spec.ffn_size, d)
        add_pair(f"{layer}.ffn.down", f"{stored}.fc2", d, spec.ffn_size)
    if spec.final_norm:
        add_pair("final_norm", "final_layer_norm", d)
    if config.get("tie_word_embeddings", True):
        sources["head.weight"] = sources["embed.tokens"]
    else:
        sources["head.weight"] = TensorSource("lm_head.weight", (spec.vocab_size, width))
    return sources


def _refuse_unsupported(config: dict[str, Any]) -> None:
    activation = config.get("activation_function", "relu")
    if activation != "relu":
        raise ModelError(f"activation {activation!r} is not supported: its neurons never stay silent; supported: relu")
    for name in ("enable_bias", "layer_norm_elementwise_affine"):
        if config.get(name, True) is not True:
            raise ModelError(f"OPT with {name}={config[name]} is not supported; supported: {name}=true")
    if "quantization_config" in config:
        raise ModelError("quantised checkpoints are not supported; use the float16 or float32 one")
