"""The operator `flashneuron::attention` (FORMAT.md, "Attention programs"), for PyTorch.

Importing this module registers it: an eager implementation, shapes for tracing, and the out-variant that ExecuTorch
programs name. The runtime has the same operator over its own KV cache (device_runtime/src/attention/attention_op.cc).
"""

from __future__ import annotations

import torch
from torch import Tensor

_SIGNATURE = "Tensor q, Tensor k, Tensor v, Tensor k_cache, Tensor v_cache, Tensor position, int heads, int kv_heads"

torch.library.define("flashneuron::attention", f"({_SIGNATURE}) -> Tensor")
torch.library.define("flashneuron::attention.out", f"({_SIGNATURE}, *, Tensor(a!) out) -> Tensor(a!)")


def cache_dtype(row_bytes: int, kv_size: int) -> torch.dtype:
    """Element of a KV cache whose rows of `kv_size` elements take `row_bytes`."""
    if row_bytes == 4 * kv_size:
        return torch.float32
    if row_bytes == 2 * kv_size:
        return torch.float16
    raise ValueError(f"a KV row of {kv_size} elements takes {4 * kv_size} or {2 * kv_size} bytes, not {row_bytes}")


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    position: Tensor,
    heads: int,
    kv_heads: int,
    slopes: Tensor | None = None,
) -> Tensor:
    """Causal attention of T new tokens over `position` cached rows and themselves.

    q [T, heads × head_size], already scaled; k, v [T, kv]; caches u8 [C, row_bytes]. New keys and values are rounded
    to the cache's element. `slopes` fp32 [heads] (ALiBi): slopes[h] × j is added to the score of the key at position j.
    Returns [T, heads × head_size], fp32.
    """
    tokens, kv_size = k.shape
    past = int(position.item())
    dtype = cache_dtype(k_cache.shape[1], kv_size)

    def rows(cache: Tensor, new: Tensor) -> Tensor:  # [kv_heads, past + tokens, head_size]
        cached = cache[:past].contiguous().view(dtype).float()
        return torch.cat([cached, new.to(dtype).float()]).view(past + tokens, kv_heads, -1).transpose(0, 1)

    mask = torch.full((tokens, past + tokens), -torch.inf).triu(past + 1)
    if slopes is not None:
        mask = mask + slopes[:, None, None] * torch.arange(past + tokens)
    out = torch.nn.functional.scaled_dot_product_attention(
        q.view(tokens, heads, -1).transpose(0, 1)[None],
        rows(k_cache, k)[None],
        rows(v_cache, v)[None],
        attn_mask=mask,
        scale=1.0,
        enable_gqa=heads != kv_heads,
    )
    return out[0].transpose(0, 1).reshape(tokens, -1)


torch.library.impl("flashneuron::attention", "CPU", attention)


def _attention_shape(
    q: Tensor, k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, position: Tensor, heads: int, kv_heads: int
) -> Tensor:
    return torch.empty_like(q)


torch.library.register_fake("flashneuron::attention", _attention_shape)


def _attention_out(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    position: Tensor,
    heads: int,
    kv_heads: int,
    *,
    out: Tensor,
) -> Tensor:
    return out.copy_(attention(q, k, v, k_cache, v_cache, position, heads, kv_heads))


torch.library.impl("flashneuron::attention.out", "CPU", _attention_out)


_ALIBI = "Tensor q, Tensor k, Tensor v, Tensor k_cache, Tensor v_cache, Tensor position, Tensor slopes"
torch.library.define("flashneuron::attention_alibi", f"({_ALIBI}, int heads, int kv_heads) -> Tensor")
torch.library.define(
    "flashneuron::attention_alibi.out", f"({_ALIBI}, int heads, int kv_heads, *, Tensor(a!) out) -> Tensor(a!)"
)


def _alibi_eager(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    position: Tensor,
    slopes: Tensor,
    heads: int,
    kv_heads: int,
) -> Tensor:
    return attention(q, k, v, k_cache, v_cache, position, heads, kv_heads, slopes)


torch.library.impl("flashneuron::attention_alibi", "CPU", _alibi_eager)
torch.library.register_fake("flashneuron::attention_alibi", lambda q, *rest: torch.empty_like(q))
