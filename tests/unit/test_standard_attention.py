"""The block of standard operators against the block that export traces for the CPU, whose weights it shares."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from flashneuron.model.blocks import AttentionBlock
from flashneuron.model.spec import ModelSpec
from flashneuron.model.standard_attention import StandardBlock, causal_mask

D, HEADS, HEAD_SIZE = 32, 4, 8
SPEC = ModelSpec(
    family="opt", activation="relu", layers=2, hidden_size=D, ffn_size=64, heads=HEADS, kv_heads=HEADS,
    head_size=HEAD_SIZE, vocab_size=50, max_context=64, position_rows=64, norm="pre", norm_epsilon=1e-5,
    final_norm=True, prompt_prefix_ids=(2,), eos_token_ids=(2,),
)  # fmt: skip


def block_of(spec: ModelSpec, layer: int) -> AttentionBlock:
    generator, kv = torch.Generator().manual_seed(3), spec.kv_heads * spec.head_size
    rows = {"q": spec.heads * spec.head_size, "k": kv, "v": kv, "o": D}
    weights = {}
    for index in range(spec.layers):
        name = f"layers.{index}"
        for norm in ("attn_norm", "ffn_norm"):
            weights |= {f"{name}.{norm}.{kind}": torch.randn(D, generator=generator) for kind in ("weight", "bias")}
        for part, size in rows.items():
            width = rows["q"] if part == "o" else D
            weights[f"{name}.attn.{part}.weight"] = 0.3 * torch.randn(size, width, generator=generator)
            weights[f"{name}.attn.{part}.bias"] = torch.randn(size, generator=generator)
    return AttentionBlock(spec, layer, weights).eval()


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, norm="post"), replace(SPEC, kv_heads=2)])
@pytest.mark.parametrize(("tokens", "cached", "position"), [(1, 16, 0), (1, 16, 16), (1, 16, 7), (5, 0, 0), (5, 16, 9)])
@pytest.mark.parametrize("at_once", [None, 1, 3])
@torch.no_grad()
def test_a_cache_of_any_size_gives_what_its_valid_rows_give(
    spec: ModelSpec, tokens: int, cached: int, position: int, at_once: int | None
) -> None:
    block, kv = block_of(spec, 1), spec.kv_heads * spec.head_size
    residual, ffn_out, k, v = (torch.randn(n, w) for n, w in [(tokens, D), (tokens, D), (cached, kv), (cached, kv)])
    mask = causal_mask(tokens, cached, position)
    found = StandardBlock(block, at_once)(residual, ffn_out, k, v, mask)
    rows = [x[:position].contiguous().view(torch.uint8).reshape(position, 4 * kv) for x in (k, v)]
    expected = block(residual, ffn_out, *rows, torch.tensor([position]))
    for ours, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-5)
