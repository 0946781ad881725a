"""Blocks with FFNs in plain torch between them are Hugging Face's OPT."""

from __future__ import annotations

import pytest
import torch
from transformers import OPTConfig, OPTForCausalLM

from flashneuron.model.attention_op import attention
from flashneuron.model.blocks import AttentionBlock, BlockDtype, HeadBlock, empty_cache
from flashneuron.model.spec import ModelSpec

Weights = dict[str, torch.Tensor]
SHAPES = {
    "pre-norm": {"do_layer_norm_before": True, "word_embed_proj_dim": 32},
    "pre-norm, projected": {"do_layer_norm_before": True, "word_embed_proj_dim": 16},
    "post-norm": {"do_layer_norm_before": False, "word_embed_proj_dim": 32},
    "post-norm, projected": {"do_layer_norm_before": False, "word_embed_proj_dim": 16},
    "no final norm": {"do_layer_norm_before": True, "_remove_final_layer_norm": True, "word_embed_proj_dim": 32},
}


def tiny_opt(**shape: object) -> OPTForCausalLM:
    torch.manual_seed(7)
    config = OPTConfig(
        vocab_size=50, hidden_size=32, ffn_dim=64, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=40, init_std=0.3, attn_implementation="eager", **shape,
    )  # fmt: skip
    model = OPTForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases start at 0 and norms at 1: make each of them matter
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def spec_of(config: OPTConfig) -> ModelSpec:
    return ModelSpec(
        family="opt", activation="relu", layers=config.num_hidden_layers, hidden_size=config.hidden_size,
        ffn_size=config.ffn_dim, heads=config.num_attention_heads, kv_heads=config.num_attention_heads,
        head_size=config.hidden_size // config.num_attention_heads, vocab_size=config.vocab_size,
        max_context=config.max_position_embeddings, position_rows=config.max_position_embeddings,
        norm="pre" if config.do_layer_norm_before else "post", norm_epsilon=1e-5,
        final_norm=config.do_layer_norm_before and not config._remove_final_layer_norm,
        prompt_prefix_ids=(2,), eos_token_ids=(2,),
    )  # fmt: skip


def canonical(model: OPTForCausalLM) -> Weights:
    names = {
        "self_attn_layer_norm": "attn_norm", "final_layer_norm": "ffn_norm", "fc1": "ffn.up", "fc2": "ffn.down",
        **{f"self_attn.{hf}_proj": f"attn.{ours}" for hf, ours in zip(["q", "k", "v", "out"], "qkvo", strict=True)},
    }  # fmt: skip
    tops = {"project_in": "embed.project_in", "project_out": "head.project_out"}
    weights = {"head.weight": model.lm_head.weight.detach()}
    for key, tensor in model.model.decoder.state_dict().items():
        name, kind = key.rsplit(".", 1)
        if name.startswith("layers."):
            _, index, inner = name.split(".", 2)
            weights[f"layers.{index}.{names[inner]}.{kind}"] = tensor
        elif name == "final_layer_norm":
            weights[f"final_norm.{kind}"] = tensor
        elif name in tops:
            weights[tops[name]] = tensor
    return weights


def run(
    spec: ModelSpec, weights: Weights, embedded: torch.Tensor, chunks: list[int], kv: torch.dtype
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Per layer the residual + FFN output (before a post-LN norm), and the logits, cutting the sequence in chunks."""
    rows = torch.zeros(spec.layers, 2, embedded.shape[0], spec.kv_heads * spec.head_size, dtype=kv)
    hidden: list[list[torch.Tensor]] = [[] for _ in range(spec.layers)]
    logits, start = [], 0
    blocks = [AttentionBlock(spec, layer, weights) for layer in range(spec.layers)]
    for size in chunks:
        residual, position = embedded[start : start + size], torch.tensor([start])
        ffn_out = torch.zeros_like(residual)
        for layer, block in enumerate(blocks):
            caches = [rows[layer, part].view(torch.uint8) for part in (0, 1)]
            residual, ffn_input, k, v = block(residual, ffn_out, *caches, position)
            rows[layer, :, start : start + size] = torch.stack([k, v])
            name = f"layers.{layer}.ffn"
            up = torch.relu(ffn_input @ weights[f"{name}.up.weight"].T + weights[f"{name}.up.bias"])
            ffn_out = up @ weights[f"{name}.down.weight"].T + weights[f"{name}.down.bias"]
            hidden[layer].append(residual + ffn_out)
        logits.append(HeadBlock(spec, weights)(residual, ffn_out))
        start += size
    return [torch.cat(parts) for parts in hidden], torch.cat(logits)


def embedded_by(model: OPTForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    decoder = model.model.decoder
    tokens = decoder.embed_tokens(ids)
    tokens = decoder.project_in(tokens) if decoder.project_in is not None else tokens
    return (tokens + decoder.embed_positions.weight[2 : 2 + len(ids)]).detach()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("chunks", [[12], [8, 1, 1, 2]], ids=["whole", "chunks"])
@torch.no_grad()
def test_blocks_are_hugging_faces_opt(shape: dict[str, object], chunks: list[int]) -> None:
    model = tiny_opt(**shape)
    spec = spec_of(model.config)
    ids = torch.randint(3, 50, (12,))
    expected = model(ids[None], output_hidden_states=True)
    layers, logits = run(spec, canonical(model), embedded_by(model, ids), chunks, torch.float32)
    torch.testing.assert_close(logits, expected.logits[0], rtol=1e-5, atol=1e-4)
    if spec.norm == "pre":  # hidden_states[i] is the input of layer i
        for ours, theirs in zip(layers[:-1], expected.hidden_states[1:-1], strict=True):
            torch.testing.assert_close(ours, theirs[0], rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_a_sequence_needs_no_cache() -> None:
    model = tiny_opt(**SHAPES["pre-norm"])
    spec, weights = spec_of(model.config), canonical(model)
    x, zero = torch.randn(5, 32), torch.zeros(1, dtype=torch.long)
    block, cache = AttentionBlock(spec, 0, weights), empty_cache(spec)
    with_rows = torch.full((9, cache.shape[1]), 255, dtype=torch.uint8)  # NaN in fp32: must not be read
    for ours, theirs in zip(block(x, x, cache, cache, zero), block(x, x, with_rows, with_rows, zero), strict=True):
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_an_fp16_cache_makes_no_difference_between_cuts() -> None:
    model = tiny_opt(**SHAPES["pre-norm"])
    spec, weights = spec_of(model.config), canonical(model)
    embedded = embedded_by(model, torch.randint(3, 50, (12,)))
    _, whole = run(spec, weights, embedded, [12], torch.float16)
    _, cut = run(spec, weights, embedded, [5, 1, 6], torch.float16)
    _, exact = run(spec, weights, embedded, [12], torch.float32)
    torch.testing.assert_close(cut, whole, rtol=1e-5, atol=1e-4)
    rounding = (whole - exact).abs().max()
    assert 0 < rounding < 0.1


@torch.no_grad()
def test_fp16_projections_stay_near_fp32_and_keep_fp32_outside() -> None:
    model = tiny_opt(**SHAPES["post-norm, projected"])
    spec, weights = spec_of(model.config), canonical(model)
    x, zero, cache = torch.randn(4, 32), torch.zeros(1, dtype=torch.long), empty_cache(spec)
    block = AttentionBlock(spec, 1, weights)
    exact = block(x, x, cache, cache, zero)
    block.set_dtype("fp16")
    for ours, theirs in zip(block(x, x, cache, cache, zero), exact, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-2)
    assert {p.dtype for p in block.attn_norm.parameters()} == {torch.float32}


@pytest.mark.parametrize(("dtype", "tolerance"), [("int8", 6e-2), ("int4", 3e-1)])
@torch.no_grad()
def test_integer_projections_stay_near_fp32_and_give_back_what_they_store(dtype: BlockDtype, tolerance: float) -> None:
    torch.manual_seed(5)
    model = tiny_opt(**SHAPES["pre-norm"])
    spec, weights = spec_of(model.config), canonical(model)
    x, zero, cache = torch.randn(4, 32), torch.zeros(1, dtype=torch.long), empty_cache(spec)
    block = AttentionBlock(spec, 1, weights)
    exact = block(x, x, cache, cache, zero)
    block.set_dtype(dtype)
    assert block.qkv.weight.dtype == torch.int8
    rounded = block(x, x, cache, cache, zero)
    block.set_dtype("fp32")
    stored = block(x, x, cache, cache, zero)
    for ours, as_stored, theirs in zip(rounded, stored, exact, strict=True):
        assert not torch.equal(as_stored, theirs)
        largest = theirs.abs().max()
        assert (as_stored - theirs).abs().max() < tolerance * largest
        assert (ours - as_stored).abs().max() < 3e-2 * largest


@torch.no_grad()
def test_a_head_is_int8_where_layers_are_int4() -> None:
    model = tiny_opt(**SHAPES["post-norm, projected"])
    spec, weights = spec_of(model.config), canonical(model)
    blocks = [HeadBlock(spec, weights) for _ in range(2)]
    for block, dtype in zip(blocks, ("int8", "int4"), strict=True):
        block.set_dtype(dtype)
    x = torch.randn(2, 32)
    assert torch.equal(blocks[0](x, x), blocks[1](x, x))


def test_grouped_keys_serve_several_heads() -> None:
    torch.manual_seed(1)
    q, k, v = torch.randn(3, 32), torch.randn(3, 16), torch.randn(3, 16)
    cache, zero = torch.zeros(0, 64, dtype=torch.uint8), torch.zeros(1, dtype=torch.long)
    grouped = attention(q, k, v, cache, cache, zero, heads=4, kv_heads=2)

    def spread(x: torch.Tensor) -> torch.Tensor:
        return x.view(3, 2, 1, 8).expand(3, 2, 2, 8).reshape(3, 32)

    wide = torch.zeros(0, 128, dtype=torch.uint8)
    torch.testing.assert_close(grouped, attention(q, spread(k), spread(v), wide, wide, zero, heads=4, kv_heads=4))


def test_a_row_of_another_element_is_refused() -> None:
    x, zero = torch.randn(1, 8), torch.zeros(1, dtype=torch.long)
    cache = torch.zeros(4, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match="takes 32 bytes in fp32, 16 in fp16 or 16 in int8, not 8"):
        attention(x, x, x, cache, cache, zero, heads=2, kv_heads=2)
