"""What the families of Llama's shape share: RMSNorm before attention and FFN, RoPE, a gated FFN, and tensors by these
names. Their own files say how they differ.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from flashneuron.errors import ModelError
from flashneuron.model.families.config import flag, positive, refuse_unknown, whole
from flashneuron.model.families.rotary import ROPE_FIELDS, read_rope
from flashneuron.model.spec import Activation, ModelSpec, Thresholds
from flashneuron.model.weights import TensorSource

_FIELDS = frozenset({
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "hidden_act", "hidden_act_param", "rms_norm_eps", *ROPE_FIELDS,
})  # fmt: skip
_WINDOW_FIELDS = frozenset({"use_sliding_window", "sliding_window", "max_window_layers", "layer_types"})


def read_gated(
    config: dict[str, Any],
    family: str,
    handled: Collection[str] = (),
    window: bool = False,
    activation: Activation | None = None,
    **facts: Any,
) -> ModelSpec:
    """`handled`: fields that the family reads itself. `window`: whether the family knows sliding windows. `activation`:
    the family's own, whatever hidden_act says. `facts`: of the ModelSpec. Errors: ModelError.
    """
    refuse_unknown(config, family, _FIELDS | set(handled) | (_WINDOW_FIELDS if window else set()))
    layers, hidden, heads = (whole(config, f) for f in ("num_hidden_layers", "hidden_size", "num_attention_heads"))
    kv_heads = whole(config, "num_key_value_heads", heads)
    head_size = whole(config, "head_dim", hidden // heads if hidden % heads == 0 else None)
    if heads % kv_heads:
        raise ModelError(f"config.json: {heads} num_attention_heads are no multiple of {kv_heads} num_key_value_heads")
    context = whole(config, "max_position_embeddings")
    activation, thresholds = (activation, None) if activation else _activation(config, layers)
    return ModelSpec(
        family=family,
        activation=activation,
        layers=layers,
        hidden_size=hidden,
        ffn_size=whole(config, "intermediate_size"),
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        vocab_size=whole(config, "vocab_size"),
        max_context=min(context, _window(config) or context) if window else context,
        position_rows=0,
        norm="pre",
        norm_epsilon=positive(config, "rms_norm_eps", 1e-6),
        final_norm=True,
        prompt_prefix_ids=(),
        eos_token_ids=(),
        gated=True,
        thresholds=thresholds,
        norm_kind="rms",
        rope=read_rope(config, head_size),
        **facts,
    )


def gated_sources(
    spec: ModelSpec,
    config: dict[str, Any],
    qkv_bias: bool = False,
    o_bias: bool = False,
    mlp_bias: bool = False,
    head_norms: bool = False,
    tied: bool = False,
) -> Mapping[str, TensorSource]:
    """Canonical name → stored tensor. `tied`: where config.json does not say."""
    d, q, kv = spec.hidden_size, spec.heads * spec.head_size, spec.kv_heads * spec.head_size
    sources: dict[str, TensorSource] = {}

    def add(name: str, stored: str, *shape: int, bias: bool = False) -> None:
        sources[f"{name}.weight"] = TensorSource(f"{stored}.weight", shape)
        if bias:
            sources[f"{name}.bias"] = TensorSource(f"{stored}.bias", shape[:1])

    for i in range(spec.layers):
        name, stored = f"layers.{i}", f"model.layers.{i}"
        add(f"{name}.attn_norm", f"{stored}.input_layernorm", d)
        add(f"{name}.ffn_norm", f"{stored}.post_attention_layernorm", d)
        for part, rows in (("q", q), ("k", kv), ("v", kv)):
            add(f"{name}.attn.{part}", f"{stored}.self_attn.{part}_proj", rows, d, bias=qkv_bias)
        add(f"{name}.attn.o", f"{stored}.self_attn.o_proj", d, q, bias=o_bias)
        if head_norms:
            for part in "qk":
                add(f"{name}.attn.{part}_norm", f"{stored}.self_attn.{part}_norm", spec.head_size)
        add(f"{name}.ffn.gate", f"{stored}.mlp.gate_proj", spec.ffn_size, d)
        add(f"{name}.ffn.up", f"{stored}.mlp.up_proj", spec.ffn_size, d, bias=mlp_bias)
        add(f"{name}.ffn.down", f"{stored}.mlp.down_proj", d, spec.ffn_size, bias=mlp_bias)
    add("final_norm", "model.norm", d)
    sources["embed.tokens"] = TensorSource("model.embed_tokens.weight", (spec.vocab_size, d))
    head = TensorSource("lm_head.weight", (spec.vocab_size, d))
    sources["head.weight"] = sources["embed.tokens"] if flag(config, "tie_word_embeddings", tied) else head
    return sources


def _activation(config: dict[str, Any], layers: int) -> tuple[Activation, Thresholds | None]:
    name = config.get("hidden_act", "silu")
    if name == "fatrelu":  # ProSparse, MiniCPM-S
        threshold = config.get("hidden_act_param")
        if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 <= threshold < float("inf"):
            raise ModelError(f"config.json: hidden_act_param is {threshold!r}; fatrelu's threshold is a number from 0")
        return "fatrelu", Thresholds("gate", (float(threshold),) * layers)
    if config.get("hidden_act_param") is not None:
        raise ModelError(f"config.json: hidden_act_param is not supported with hidden_act {name!r}")
    if name == "relu":
        return "relu", None
    if name in ("silu", "swish"):
        return "silu", None
    raise ModelError(f"config.json: hidden_act {name!r} is not supported; supported: relu, fatrelu, silu")


def _window(config: dict[str, Any]) -> int | None:
    """Tokens that a sliding layer sees. Contexts end there, since layers here see all tokens before them."""
    if not flag(config, "use_sliding_window", True):
        return None
    for kind in config.get("layer_types") or ():
        if kind not in ("full_attention", "sliding_attention"):
            raise ModelError(f"config.json: layer_types has {kind!r}; supported: full_attention, sliding_attention")
    return whole(config, "sliding_window") if config.get("sliding_window") is not None else None
