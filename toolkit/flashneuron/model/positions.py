"""Positions inside attention: rotary ones (RoFormer, arXiv 2104.09864), and ALiBi's slopes.

Sines and cosines are made anew in each call: a table up to the longest context would lie in every layer's program.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flashneuron.model.spec import Rope


def alibi_slopes(heads: int) -> Tensor:
    """fp32 [heads], of ALiBi (arXiv 2108.12409): a geometric sequence for a power of two, and every second number of
    the next one's for the heads beyond. Rounded to bf16, as Falcon was trained.
    """
    power = 1 << (heads.bit_length() - 1)
    exponents = [8 * (head + 1) / power for head in range(power)]
    exponents += [4 * (2 * head + 1) / power for head in range(heads - power)]
    return torch.pow(2.0, -torch.tensor(exponents)).bfloat16().float()


class Rotation(nn.Module):
    frequencies: Tensor  # fp32 [head_size / 2]

    def __init__(self, rope: Rope) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.tensor(rope.inverse_frequencies, dtype=torch.float32))
        self.magnitude = rope.magnitude

    def turns(self, position: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines, fp32 [tokens, 1, head_size / 2], from i64 [1], the position of the first token."""
        angles = (torch.arange(tokens) + position).float()[:, None, None] * self.frequencies
        return angles.cos() * self.magnitude, angles.sin() * self.magnitude

    def forward(self, x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        """x [tokens, heads, head_size]."""
        cosines, sines = turns
        half = len(self.frequencies)
        first, second = x.narrow(2, 0, half), x.narrow(2, half, half)
        return torch.cat([first * cosines - second * sines, second * cosines + first * sines], -1)
