"""The attention operators against their definition, row by row."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flashneuron.model.attention_op import attention, attention_alibi, load_rows, store_rows

HEADS, KV_HEADS, HEAD_SIZE = 4, 2, 8
KV = KV_HEADS * HEAD_SIZE
ROW_BYTES = {"fp32": 4 * KV, "fp16": 2 * KV, "int8": KV + 4 * KV_HEADS}


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


@settings(deadline=None)
@given(seed=st.integers(0, 1 << 30), tokens=st.integers(1, 6), magnitude=st.floats(-30, 30))
def test_int8_rows_are_within_half_a_step_of_their_head(seed: int, tokens: int, magnitude: float) -> None:
    _, rows, _ = draw(seed, 0, tokens)
    rows = rows * 10**magnitude
    rows[:, :HEAD_SIZE] *= 100  # one head's outliers do not coarsen the other's steps
    stored = store_rows(rows, ROW_BYTES["int8"], KV_HEADS)
    back = load_rows(stored, KV, KV_HEADS)
    step = rows.view(tokens, KV_HEADS, -1).abs().amax(2, keepdim=True) / 127
    error = (back - rows).view(tokens, KV_HEADS, -1).abs()
    assert (error <= 0.501 * step).all()
    again = load_rows(store_rows(back, ROW_BYTES["int8"], KV_HEADS), KV, KV_HEADS)
    torch.testing.assert_close(again, back, rtol=1e-6, atol=0)


@pytest.mark.parametrize("element", ROW_BYTES)
def test_rows_of_zeros_stay_zeros(element: str) -> None:
    stored = store_rows(torch.zeros(3, KV), ROW_BYTES[element], KV_HEADS)
    assert stored.shape == (3, ROW_BYTES[element])
    assert torch.equal(load_rows(stored, KV, KV_HEADS), torch.zeros(3, KV))


@pytest.mark.parametrize("element", ROW_BYTES)
@settings(deadline=None)
@given(seed=st.integers(0, 1 << 30), cut=st.integers(1, 8))
def test_cuts_of_the_tokens_make_no_difference(element: str, seed: int, cut: int) -> None:
    q, k, v = draw(seed, 0, 9)
    slopes = torch.tensor([0.5, 0.25, 0.125, 0.0625])
    empty = torch.empty(0, ROW_BYTES[element], dtype=torch.uint8)
    whole = attention_alibi(q, k, v, empty, empty, torch.tensor([0]), slopes, HEADS, KV_HEADS)
    caches = [store_rows(rows[:cut], ROW_BYTES[element], KV_HEADS) for rows in (k, v)]
    position = torch.tensor([cut])
    rest = attention_alibi(q[cut:], k[cut:], v[cut:], *caches, position, slopes, HEADS, KV_HEADS)
    torch.testing.assert_close(rest, whole[cut:], rtol=1e-5, atol=1e-5)


@settings(deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_int8_stays_near_fp32(seed: int) -> None:
    q, k, v = draw(seed, 0, 12)
    exact, rounded = (
        attention(q / HEAD_SIZE**0.5, k, v, cache, cache, torch.tensor([0]), HEADS, KV_HEADS)
        for cache in (torch.empty(0, ROW_BYTES[element], dtype=torch.uint8) for element in ("fp32", "int8"))
    )
    assert 0 < (rounded - exact).abs().max() < 0.05
