"""Integer projections: how far rounding may go, and that tokens and rows do not touch each other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flashneuron.model.quantized import INT4_GROUP, IntDtype, QuantizedProjection, round_int4, round_int8

TYPES: list[IntDtype] = ["int8", "int4"]


def random_weight(rows: int, groups: int, seed: int) -> Tensor:
    """Rows of very different magnitude."""
    random = torch.Generator().manual_seed(seed)
    magnitude = torch.exp(4 * torch.randn(rows, 1, generator=random))
    return magnitude * torch.randn(rows, groups * INT4_GROUP, generator=random)


weights = st.builds(random_weight, st.integers(1, 9), st.integers(1, 4), st.integers(0, 1 << 30))


@given(weights)
def test_int8_is_within_half_a_step(weight: Tensor) -> None:
    values, scale = round_int8(weight)
    assert values.dtype == torch.int8
    assert values.abs().amax(1).tolist() == [127] * len(weight)
    assert ((values * scale[:, None] - weight).abs() <= scale[:, None] * 0.5001).all()


@given(weights)
def test_int4_is_no_worse_than_the_plain_scale(weight: Tensor) -> None:
    values, scale = round_int4(weight)
    assert scale.shape == (len(weight), weight.shape[1] // INT4_GROUP)
    assert (scale == scale.bfloat16().float()).all()
    assert values.min() >= -8
    assert values.max() <= 7
    step = scale.repeat_interleave(INT4_GROUP, 1)
    groups = weight.reshape(-1, INT4_GROUP)
    plain = (groups.abs().amax(1, keepdim=True) / 7).bfloat16().float()
    plain_error = ((groups / plain).round().clamp(-8, 7) * plain - groups).square().sum(1)
    error = (values * step - weight).reshape(-1, INT4_GROUP).square().sum(1)
    assert (error <= plain_error * 1.0001).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_rows_of_zeros_stay_zeros(dtype: IntDtype) -> None:
    stored = QuantizedProjection(torch.zeros(3, INT4_GROUP), None, dtype)
    assert (stored.dequantized() == 0).all()
    assert (stored(torch.randn(2, INT4_GROUP)) == 0).all()


@pytest.mark.parametrize("dtype", TYPES)
@settings(deadline=None)
@given(weight=weights, tokens=st.integers(1, 6), seed=st.integers(0, 1 << 30))
def test_a_product_is_that_of_the_stored_weights_for_each_token_alone(
    dtype: IntDtype, weight: Tensor, tokens: int, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    bias = torch.randn(len(weight), generator=random)
    x = torch.exp(3 * torch.randn(tokens, 1, generator=random)) * torch.randn(tokens, weight.shape[1], generator=random)
    stored = QuantizedProjection(weight, bias, dtype)
    out, exact = stored(x), torch.nn.functional.linear(x, stored.dequantized(), bias)
    # An input is off by half a step of its token's range at most.
    step = (x.amax(1).clamp_min(0) - x.amin(1).clamp_max(0)) / 255
    bound = step[:, None] * stored.dequantized().abs().sum(1)[None] + 1e-3 * exact.abs() + 1e-4
    assert ((out - exact).abs() <= bound).all()
    for token in range(tokens):
        torch.testing.assert_close(stored(x[token : token + 1])[0], out[token], rtol=1e-4, atol=1e-4)
