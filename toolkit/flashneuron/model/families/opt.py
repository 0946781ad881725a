"""OPT (Meta): ReLU, learned positions, every projection with a bias; 350m alone is post-LN with a narrow embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flashneuron.errors import ModelError
from flashneuron.model.families.config import flag, refuse_unknown, require, whole
from flashneuron.model.spec import ModelSpec
from flashneuron.model.weights import Checkpoint, TensorSource

_POSITION_OFFSET = 2  # the first rows of OPT's position table are never used
_PREFIXES = ("model.decoder.", "decoder.")  # since transformers 4.19; before
_FIELDS = frozenset({
    "vocab_size", "hidden_size", "num_hidden_layers", "ffn_dim", "num_attention_heads", "max_position_embeddings",
    "activation_function", "do_layer_norm_before", "enable_bias", "layer_norm_elementwise_affine",
    "word_embed_proj_dim", "_remove_final_layer_norm",
    # Of training, of text pipelines, and of the first conversion from metaseq; no forward pass reads them.
    "activation_dropout", "dropout", "init_std", "layerdrop", "prefix", "output_projection",
})  # fmt: skip


def read_spec(config: dict[str, Any]) -> ModelSpec:
    """Facts but for the prompt prefix and end tokens, which the folder's tokenizer and generation config decide."""
    refuse_unknown(config, "opt", _FIELDS)
    if (activation := config.get("activation_function", "relu")) != "relu":
        raise ModelError(f"config.json: activation_function {activation!r} leaves no neuron silent; supported: relu")
    require(config, enable_bias=True, layer_norm_elementwise_affine=True)
    hidden, heads = whole(config, "hidden_size", 768), whole(config, "num_attention_heads", 12)
    if hidden % heads:
        raise ModelError(f"config.json: hidden_size {hidden} is not a multiple of num_attention_heads {heads}")
    pre_norm, context = flag(config, "do_layer_norm_before", True), whole(config, "max_position_embeddings", 2048)
    return ModelSpec(
        family="opt",
        activation="relu",
        layers=whole(config, "num_hidden_layers", 12),
        hidden_size=hidden,
        ffn_size=whole(config, "ffn_dim", 3072),
        heads=heads,
        kv_heads=heads,
        head_size=hidden // heads,
        vocab_size=whole(config, "vocab_size", 50272),
        max_context=context,
        position_rows=context,
        norm="pre" if pre_norm else "post",
        norm_epsilon=1e-5,
        final_norm=pre_norm and not flag(config, "_remove_final_layer_norm"),
        prompt_prefix_ids=(),
        eos_token_ids=(),
    )


def tensor_sources(spec: ModelSpec, config: dict[str, Any], checkpoint: Checkpoint) -> Mapping[str, TensorSource]:
    """Canonical name → stored tensor."""
    prefix = next((p for p in _PREFIXES if f"{p}embed_tokens.weight" in checkpoint.files), _PREFIXES[0])
    d, width = spec.hidden_size, whole(config, "word_embed_proj_dim", spec.hidden_size)
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
