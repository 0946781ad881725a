"""Every family: blocks and FFNs give the logits of eager PyTorch, and no field that matters is passed over."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import tiny_families
import tiny_opt
import torch
from transformers import OPTConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from flashneuron.errors import ModelError
from flashneuron.model.blocks import AttentionBlock, HeadBlock
from flashneuron.model.families import opt
from flashneuron.model.families.rotary import read_rope
from flashneuron.model.ffn import Ffn
from flashneuron.model.folder import ModelFolder, open_model
from flashneuron.model.spec import Thresholds

IDS = torch.randint(4, 250, (40,), generator=torch.Generator().manual_seed(1))
CHUNKS = (17, 1, 1, 8, 13)


def opened(folder: Path) -> ModelFolder:
    """Dense SwiGLU with thresholds of 0: what it is without any."""
    model = open_model(folder)
    if model.spec.activation != "silu":
        return model
    none = Thresholds("gate", (0.0,) * model.spec.layers)
    return dataclasses.replace(model, spec=dataclasses.replace(model.spec, thresholds=none))


@torch.no_grad()
def logits_of(model: ModelFolder, ids: torch.Tensor, chunks: tuple[int, ...]) -> torch.Tensor:
    """Fed chunk by chunk, as the runtime does it, with an fp32 cache."""
    spec, weights = model.spec, model.weights
    blocks = [AttentionBlock(spec, layer, weights) for layer in range(spec.layers)]
    ffns, head = [Ffn.load(spec, weights, layer) for layer in range(spec.layers)], HeadBlock(spec, weights)
    caches = torch.zeros(spec.layers, 2, len(ids), spec.kv_heads * spec.head_size)
    found, start = [], 0
    for size in chunks:
        residual = weights["embed.tokens"][ids[start : start + size]].float()
        ffn_out, position = torch.zeros_like(residual), torch.tensor([start])
        for block, ffn, cache in zip(blocks, ffns, caches, strict=True):
            rows = [part.view(torch.uint8) for part in cache]
            residual, ffn_input, k, v = block(residual, ffn_out, *rows, position)
            cache[:, start : start + size] = torch.stack([k, v])
            ffn_out = ffn(ffn_input)
        found.append(head(residual, ffn_out))
        start += size
    return torch.cat(found)


@pytest.mark.parametrize("name", tiny_families.MAKERS)
def test_logits_are_those_of_eager_pytorch(name: str, tmp_path: Path) -> None:
    model = tiny_families.make(name)
    with torch.no_grad():
        expected = model(IDS[None]).logits[0]
    folder = opened(tiny_families.save(model, tmp_path))
    assert folder.spec.prompt_prefix_ids == (2,)
    for chunks in ((len(IDS),), CHUNKS):
        found = logits_of(folder, IDS, chunks)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
        assert torch.equal(found.argmax(-1), expected.argmax(-1))


ROPES = [
    {"rope_type": "default", "rope_theta": 5e5},
    {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5},
    {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
    {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
     "original_max_position_embeddings": 8192},
    {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32768},
    {"rope_type": "yarn", "rope_theta": 1e4, "factor": 16.0, "original_max_position_embeddings": 4096, "beta_fast": 16,
     "beta_slow": 2, "attention_factor": 1.25},
]  # fmt: skip


@pytest.mark.parametrize("rope", ROPES, ids=lambda rope: rope["rope_type"])
def test_rope_scalings_are_transformers_in_both_spellings(rope: dict[str, Any]) -> None:
    config = tiny_families.make("llama").config
    config.head_dim, config.max_position_embeddings, config.rope_parameters = 64, 131072, dict(rope)
    if rope["rope_type"] == "default":
        expected, magnitude = 1.0 / 5e5 ** (torch.arange(0, 64, 2).float() / 64), 1.0
    else:
        expected, magnitude = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, "cpu")
    theta, context = rope["rope_theta"], {"max_position_embeddings": 131072}
    scaling = {name: value for name, value in rope.items() if name != "rope_theta"}
    older = {"type" if name == "rope_type" else name: value for name, value in scaling.items()}
    for spelling in (
        {"rope_parameters": rope}, {"rope_theta": theta, "rope_scaling": scaling},
        {"rope_theta": theta, "rope_scaling": older},
    ):  # fmt: skip
        found = read_rope(context | spelling, 64)
        torch.testing.assert_close(torch.tensor(found.inverse_frequencies), expected, rtol=1e-5, atol=0)
        assert found.magnitude == pytest.approx(magnitude)


Change = tuple[dict[str, Any], str]  # of config.json, and the word that the message must have


def _fields(**values: Any) -> list[Change]:
    return [({name: value}, name) for name, value in values.items()]


_ROPE: list[Change] = [
    ({"rope_parameters": {"rope_type": "longrope", "long_factor": [1.0], "short_factor": [1.0]}}, "longrope"),
    ({"rope_scaling": {"type": "su", "factor": 2.0}, "rope_parameters": None}, "su"),
    ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "mscale": 0.7}}, "mscale"),
    ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "surprise": 1.0}}, "surprise"),
    ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "rope_parameters"),
    ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
    *_fields(partial_rotary_factor=0.5, rope_interleaved=True),
]
_ANY = _fields(quantization_config={"bits": 4}, attn_logit_softcapping=50.0, logits_scaling=8.0, news=1)
_GATED = [*_ROPE, *_ANY, *_fields(hidden_act="gelu", embedding_multiplier=12.0, num_local_experts=8)]
REFUSED: dict[str, list[Change]] = {
    "opt": [
        *_ANY, *_fields(activation_function="gelu", enable_bias=False, layer_norm_elementwise_affine=False),
        *_fields(scale_embeddings=True, hidden_act="gelu", num_key_value_heads=2, rope_scaling={"factor": 2.0}),
        *_fields(sliding_window=16, do_layer_norm_before="yes", word_embed_proj_dim=0, num_hidden_layers=0),
    ],
    "relullama": [
        *_GATED, *_fields(mlp_bias=True, attention_multiplier=0.5, sliding_window=16, hidden_act_param=0.1),
        ({"hidden_act": "fatrelu"}, "hidden_act_param"), *_fields(num_key_value_heads=3),
    ],
    "mistral": [
        *_GATED, *_fields(attention_bias=True, mlp_bias=True, sliding_window=0),
        ({"layer_types": ["chunked_attention"] * 2}, "layer_types"),
    ],
    "qwen2": [*_GATED, *_fields(attention_bias=True, use_sliding_window=1)],
    "qwen3": [*_GATED, *_fields(mlp_bias=True, num_experts=8)],
    "falcon-7b": [*_ROPE, *_ANY, *_fields(activation="gelu", num_ln_in_parallel_attn=2, alibi="yes")],
    "falcon-40b": [
        *_ROPE, *_ANY, *_fields(activation="gelu", parallel_attn=False, num_ln_in_parallel_attn=3),
        ({"num_kv_heads": 3}, "3 kv heads"),
    ],
    "minicpm-s": [
        *_GATED, *_fields(num_experts=8, attention_bias=True, hidden_act_param=None, scale_depth=0),
        ({"sparse_config": {"topk": 64}}, "sparse_config"),
    ],
    "bamboo": [*_GATED, *_fields(hidden_act="silu", hidden_act_param=0.01, mlp_bias=True)],
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_fields_that_change_the_mathematics_are_refused_by_name(name: str, tmp_path: Path) -> None:
    model = tiny_opt.make_model() if name == "opt" else tiny_families.make(name)
    folder = tiny_families.save(model, tmp_path)
    config = (folder / "config.json").read_text()
    for changes, word in REFUSED[name]:
        (folder / "config.json").write_text(json.dumps(json.loads(config) | changes))
        with pytest.raises(ModelError) as caught:
            open_model(folder)
        message = str(caught.value)
        assert "\n" not in message
        assert word in message, (changes, message)


# As facebook/opt-350m was published, with what its siblings and later versions of transformers write besides.
_PUBLISHED_OPT = {
    "_name_or_path": "opt-350m", "activation_dropout": 0.0, "activation_function": "relu",
    "architectures": ["OPTForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 2, "do_layer_norm_before": False,
    "dropout": 0.1, "dtype": "float16", "eos_token_id": 2, "ffn_dim": 4096, "hidden_size": 1024, "init_std": 0.02,
    "layerdrop": 0.0, "max_position_embeddings": 2048, "model_type": "opt", "num_attention_heads": 16,
    "num_hidden_layers": 24, "output_projection": True, "pad_token_id": 1, "prefix": "</s>", "torch_dtype": "float16",
    "transformers_version": "4.20.0.dev0", "use_cache": True, "vocab_size": 50272, "word_embed_proj_dim": 512,
    "_remove_final_layer_norm": False, "enable_bias": True, "layer_norm_elementwise_affine": True,
    "tie_word_embeddings": True,
}  # fmt: skip


@pytest.mark.parametrize("more", [_PUBLISHED_OPT, OPTConfig().to_dict()])
def test_fields_of_published_opts_pass(more: dict[str, Any]) -> None:
    spec = opt.read_spec(more)
    assert spec.layers == more["num_hidden_layers"]
    assert (spec.norm, spec.final_norm) == (("pre", True) if more["do_layer_norm_before"] else ("post", False))


def test_a_sliding_window_bounds_the_context(tmp_path: Path) -> None:
    folder = tiny_families.save(tiny_families.make("mistral"), tmp_path)
    assert open_model(folder).spec.max_context == 64
    tiny_opt.edit_config(folder, sliding_window=24)
    assert open_model(folder).spec.max_context == 24
