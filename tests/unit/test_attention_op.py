"""The attention operators against their definition, row by row."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flashneuron.model.attention_op import attention, attention_alibi

HEADS, KV_HEADS, HEAD_SIZE = 4, 2, 8
KV = KV_HEADS * HEAD_SIZE


def defined(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
    """softmax(q·k + slope × row) · v over the rows up to each of the last `len(q)` tokens, in double."""
    out = torch.zeros(len(q), HEADS, HEAD_SIZE, dtype=torch.float64)
    past = len(k) - len(q)
    for token in range(len(q)):
        for head in range(HEADS):
            part = slice(head // (HEADS // KV_HEADS) * HEAD_SIZE, (head // (HEADS // KV_HEADS) + 1) * HEAD_SIZE)
            query = q[token, head * HEAD_SIZE : (head + 1) * HEAD_SIZE].double()
            rows = past + token + 1
            scores = k[:rows, part].double() @ query + slopes[head].double() * torch.arange(rows)
            out[token, head] = scores.softmax(0) @ v[:rows, part].double()
    return out.view(len(q), -1)


def draw(seed: int, past: int, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """q [tokens, heads × head_size]; k, v [past + tokens, kv]."""
    random = torch.Generator().manual_seed(seed)
    shapes = ((tokens, HEADS * HEAD_SIZE), (past + tokens, KV), (past + tokens, KV))
    q, k, v = (torch.randn(shape, generator=random) for shape in shapes)
    return q, k, v


@settings(deadline=None)
@given(seed=st.integers(0, 1 << 30), past=st.integers(0, 9), tokens=st.integers(1, 7))
def test_fp32_rows_give_the_definition_with_and_without_slopes(seed: int, past: int, tokens: int) -> None:
    q, k, v = draw(seed, past, tokens)
    caches = [torch.full((past + 3, 4 * KV), 255, dtype=torch.uint8) for _ in range(2)]  # NaN beyond the past
    for cache, rows in zip(caches, (k, v), strict=True):
        cache[:past] = rows[:past].contiguous().view(torch.uint8)
    slopes, position = torch.tensor([0.5, 0.25, 0.125, -0.0625]), torch.tensor([past])
    biased = attention_alibi(q, k[past:], v[past:], *caches, position, slopes, HEADS, KV_HEADS)
    plain = attention(q, k[past:], v[past:], *caches, position, HEADS, KV_HEADS)
    torch.testing.assert_close(biased.double(), defined(q, k, v, slopes), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(plain.double(), defined(q, k, v, torch.zeros(HEADS)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["attention", "attention_alibi"])
def test_out_variants_and_shapes_for_tracing_agree_with_the_operators(name: str) -> None:
    q, k, v = draw(3, 0, 5)
    cache, position = torch.empty(0, 4 * KV, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
    slopes = [torch.full((HEADS,), 0.5)] if name == "attention_alibi" else []
    inputs = (q, k, v, cache, cache, position, *slopes, HEADS, KV_HEADS)
    operator = getattr(torch.ops.flashneuron, name)
    out = torch.empty_like(q)
    assert torch.equal(operator.out(*inputs, out=out), operator(*inputs))
    torch.library.opcheck(operator.default, inputs, test_utils=("test_schema", "test_faketensor"))
