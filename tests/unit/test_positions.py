"""Positions inside attention: rotations as programs compute them, and slopes."""

from __future__ import annotations

import pytest
import torch
from executorch.extension.pybindings.portable_lib import _load_for_executorch_from_buffer
from torch import Tensor, nn
from torch.export import Dim
from transformers.models.falcon.modeling_falcon import build_alibi_tensor

from flashneuron.export.backends import XNNPACK, lower
from flashneuron.model.positions import Rotation, alibi_slopes
from flashneuron.model.spec import Rope

HEADS, SIZE = 3, 64
FREQUENCIES = tuple((5e5 ** (-torch.arange(0, SIZE, 2).double() / SIZE)).tolist())


class Rotated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rotation = Rotation(Rope(FREQUENCIES, 1.25))

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        heads = x.reshape(-1, HEADS, SIZE)
        return self.rotation(heads, self.rotation.turns(position, x.shape[0])).reshape(-1, HEADS * SIZE)


@torch.no_grad()
def test_a_program_rotates_any_number_of_tokens_at_any_position() -> None:
    tokens = {0: Dim.DYNAMIC(min=1, max=64)}
    inputs = (torch.zeros(2, HEADS * SIZE), torch.zeros(1, dtype=torch.int64))
    traced = torch.export.export(Rotated().eval(), inputs, dynamic_shapes=(tokens, None), strict=False)
    buffer = lower(traced, XNNPACK)[0].buffer  # which the loaded program reads from
    program = _load_for_executorch_from_buffer(buffer)
    torch.manual_seed(0)
    for count, position in ((1, 0), (1, 4095), (17, 5), (64, 131000)):
        x = torch.randn(count, HEADS * SIZE)
        found = program.run_method("forward", (x, torch.tensor([position])))[0]
        torch.testing.assert_close(found, exact(x, position), rtol=0, atol=2e-2 if position > 10000 else 1e-3)
        torch.testing.assert_close(found, Rotated()(x, torch.tensor([position])), rtol=0, atol=1e-5)


def exact(x: Tensor, position: int) -> Tensor:
    """In float64, each pair as a point in the plane. fp32 knows angles of 131000 radians to about 1/128."""
    heads = x.double().view(len(x), HEADS, SIZE)
    points = torch.complex(heads[..., : SIZE // 2], heads[..., SIZE // 2 :])
    angles = torch.outer(torch.arange(len(x)).double() + position, torch.tensor(FREQUENCIES).double())[:, None]
    turned = points * torch.polar(torch.full_like(angles, 1.25), angles)
    return torch.cat([turned.real, turned.imag], -1).view(len(x), -1).float()


@pytest.mark.parametrize("heads", [1, 4, 8, 12, 32, 71])
def test_slopes_are_falcons(heads: int) -> None:
    theirs = build_alibi_tensor(torch.ones(1, 2, dtype=torch.int64), heads, torch.float32).view(heads, 2)[:, 1]
    assert torch.equal(alibi_slopes(heads), theirs)
