"""An attention block of standard operators alone, for compilers that know neither `flashneuron::attention` nor, some of
them, shapes that change: the cache is attended to whole, and a mask says which of its rows count.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flashneuron.model.blocks import AttentionBlock

MASKED = -255.0  # e^-255 is 0 in fp32, and 16-bit activations still tell scores apart beside it


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, heads: int, kv_heads: int) -> Tensor:
    """Softmax over rows: q [T, heads × head_size], already scaled; k, v [N, kv_heads × head_size]; mask [T, N], added
    to the scores: 0 where a token sees a row, else MASKED. Returns [T, heads × head_size].
    """
    head_size, group = q.shape[1] // heads, heads // kv_heads
    queries = q.reshape(-1, heads, head_size).permute(1, 0, 2)
    keys = k.reshape(-1, kv_heads, head_size).permute(1, 2, 0)
    values = v.reshape(-1, kv_heads, head_size).permute(1, 0, 2)
    if group > 1:
        keys, values = keys.repeat_interleave(group, 0), values.repeat_interleave(group, 0)
    weights = torch.softmax(torch.matmul(queries, keys) + mask, -1)
    return torch.matmul(weights, values).permute(1, 0, 2).reshape(-1, heads * head_size)


def causal_mask(tokens: int, cached: int, position: int) -> Tensor:
    """[tokens, cached + tokens]: rows 0 … position-1 of the cache, and the new tokens up to each one itself."""
    mask = torch.full((tokens, cached + tokens), MASKED)
    mask[:, :position] = 0
    mask[:, cached:] = torch.triu(mask[:, cached:], 1)
    return mask


class StandardBlock(nn.Module):
    """`block` with the cache and a mask as inputs: residual, ffn_out fp32 [T, d]; k_cache, v_cache [C, kv] of any float
    type; mask fp32 [T, C + T]. Outputs as AttentionBlock's: residual, ffn_input fp32 [T, d]; k, v fp32 [T, kv].
    `kv_heads_at_once` are attended to together, by default all: each number of them takes its own columns of the cache.
    """

    def __init__(self, block: AttentionBlock, kv_heads_at_once: int | None = None) -> None:
        super().__init__()
        self.block = block
        self.kv_heads_at_once = kv_heads_at_once or block.kv_heads

    def forward(
        self, residual: Tensor, ffn_out: Tensor, k_cache: Tensor, v_cache: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        block = self.block
        residual = block.enter(residual, ffn_out)
        q, k, v = block.project(residual, None)
        parts = [
            self._attend(q, k, v, k_cache, v_cache, mask, first)
            for first in range(0, block.kv_heads, self.kv_heads_at_once)
        ]
        residual, ffn_input = block.finish(residual, parts[0] if len(parts) == 1 else torch.cat(parts, 1))
        return residual, ffn_input, k, v

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, mask: Tensor, first: int
    ) -> Tensor:
        """Of the kv heads from `first` on."""
        block = self.block
        count = min(self.kv_heads_at_once, block.kv_heads - first)
        if count < block.kv_heads:
            size, group = k.shape[1] // block.kv_heads, block.heads // block.kv_heads
            own, queries = slice(first * size, (first + count) * size), group * size
            q = q[:, first * queries : (first + count) * queries]
            k, v, k_cache, v_cache = k[:, own], v[:, own], k_cache[:, own], v_cache[:, own]
        keys, values = torch.cat([k_cache.float(), k]), torch.cat([v_cache.float(), v])
        return attend(q, keys, values, mask, count * (block.heads // block.kv_heads), count)
