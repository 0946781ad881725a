"""Falcon (TII) with ReLU: 7B (multi-query, one norm), 40B and 180B (grouped keys, norms of attention and FFN), 11B
(grouped, one norm), rw (ALiBi, FFN after attention). In all but rw, FFN and attention both take the layer's input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from flashneuron.errors import ModelError
from flashneuron.model.families.config import flag, positive, refuse_unknown, whole
from flashneuron.model.families.rotary import ROPE_FIELDS, read_rope
from flashneuron.model.spec import ModelSpec
from flashneuron.model.weights import Checkpoint, TensorSource

_FIELDS = frozenset({
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_ln_in_parallel_attn",
    "layer_norm_epsilon", "num_kv_heads", "alibi", "new_decoder_architecture", "multi_query", "parallel_attn", "bias",
    "ffn_hidden_size", "activation", *ROPE_FIELDS,
})  # fmt: skip


def read_spec(config: dict[str, Any]) -> ModelSpec:
    refuse_unknown(config, "falcon", _FIELDS)
    if (activation := config.get("activation", "gelu")) != "relu":
        raise ModelError(f"config.json: activation {activation!r} leaves no neuron silent; supported: relu")
    new, parallel, alibi = _new(config), flag(config, "parallel_attn", True), flag(config, "alibi")
    if new and not parallel:
        raise ModelError("config.json: parallel_attn=false is not supported with new_decoder_architecture")
    hidden, heads = whole(config, "hidden_size"), whole(config, "num_attention_heads")
    kv_heads = whole(config, "num_kv_heads", heads) if new else 1 if flag(config, "multi_query", True) else heads
    if hidden % heads or heads % kv_heads:
        raise ModelError(f"config.json: hidden_size {hidden}, {heads} heads, {kv_heads} kv heads do not fit together")
    head_size = hidden // heads
    return ModelSpec(
        family="falcon",
        activation="relu",
        layers=whole(config, "num_hidden_layers"),
        hidden_size=hidden,
        ffn_size=whole(config, "ffn_hidden_size", 4 * hidden),
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        vocab_size=whole(config, "vocab_size"),
        max_context=whole(config, "max_position_embeddings", 2048),
        position_rows=0,
        norm="pre",
        norm_epsilon=positive(config, "layer_norm_epsilon", 1e-5),
        final_norm=True,
        prompt_prefix_ids=(),
        eos_token_ids=(),
        parallel=parallel,
        alibi=alibi,
        rope=None if alibi else read_rope(config, head_size),
    )


def tensor_sources(spec: ModelSpec, config: dict[str, Any], checkpoint: Checkpoint) -> Mapping[str, TensorSource]:
    """Canonical name → stored tensor; queries, keys and values are parts of one."""
    d, biased = spec.hidden_size, flag(config, "bias")
    attn_norm, ffn_norm = _norms(config)
    sources: dict[str, TensorSource] = {}

    def add(
        name: str, stored: str, *shape: int, bias: bool = biased, part: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        convert = {} if part is None else {"convert": part}
        sources[f"{name}.weight"] = TensorSource(f"{stored}.weight", shape, **convert)
        if bias:
            sources[f"{name}.bias"] = TensorSource(f"{stored}.bias", shape[:1], **convert)

    for i in range(spec.layers):
        name, stored = f"layers.{i}", f"transformer.h.{i}"
        add(f"{name}.attn_norm", f"{stored}.{attn_norm}", d, bias=True)
        add(f"{name}.ffn_norm", f"{stored}.{ffn_norm}", d, bias=True)
        rows = (spec.heads + 2 * spec.kv_heads) * spec.head_size
        for part in "qkv":
            add(f"{name}.attn.{part}", f"{stored}.self_attention.query_key_value", rows, d, part=_part(spec, part))
        add(f"{name}.attn.o", f"{stored}.self_attention.dense", d, d)
        add(f"{name}.ffn.up", f"{stored}.mlp.dense_h_to_4h", spec.ffn_size, d)
        add(f"{name}.ffn.down", f"{stored}.mlp.dense_4h_to_h", d, spec.ffn_size)
    add("final_norm", "transformer.ln_f", d, bias=True)
    sources["embed.tokens"] = TensorSource("transformer.word_embeddings.weight", (spec.vocab_size, d))
    head = TensorSource("lm_head.weight", (spec.vocab_size, d))
    sources["head.weight"] = sources["embed.tokens"] if flag(config, "tie_word_embeddings", True) else head
    return sources


def _new(config: dict[str, Any]) -> bool:
    return flag(config, "new_decoder_architecture")


def _norms(config: dict[str, Any]) -> tuple[str, str]:
    """Names of the norms before attention and before the FFN."""
    if not flag(config, "parallel_attn", True):
        return "input_layernorm", "post_attention_layernorm"
    count = whole(config, "num_ln_in_parallel_attn", 2 if _new(config) else 1)
    if count > 2 or (count == 2 and not _new(config)):
        raise ModelError(f"config.json: num_ln_in_parallel_attn={count} is not supported for this architecture")
    return ("ln_attn", "ln_mlp") if count == 2 else ("input_layernorm", "input_layernorm")


def _part(spec: ModelSpec, part: str) -> Callable[[Tensor], Tensor]:
    """Of a tensor whose rows are, group by group, its query heads, its key head and its value head. Multi-query
    models are one group, models without shared keys have a group for each head.
    """
    group = spec.heads // spec.kv_heads
    places = {"q": slice(0, group), "k": slice(group, group + 1), "v": slice(group + 1, group + 2)}

    def take(fused: Tensor) -> Tensor:
        groups = fused.reshape(spec.kv_heads, group + 2, spec.head_size, *fused.shape[1:])
        return groups[:, places[part]].reshape(-1, *fused.shape[1:])

    return take
