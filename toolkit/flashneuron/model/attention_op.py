"""The operators `flashneuron::attention` and `flashneuron::attention_alibi` (FORMAT.md, "Attention programs").

Importing this module registers them: eager implementations, shapes for tracing, and the out-variants that ExecuTorch
programs name. The runtime has the same over its own KV cache (device_runtime/src/attention/attention_op.cc).
"""

from __future__ import annotations

import torch
from torch import Tensor

_INPUTS = "Tensor q, Tensor k, Tensor v, Tensor k_cache, Tensor v_cache, Tensor position"
_SIGNATURE = f"{_INPUTS}, int heads, int kv_heads"
_ALIBI_SIGNATURE = f"{_INPUTS}, Tensor slopes, int heads, int kv_heads"

for _name, _parameters in (("attention", _SIGNATURE), ("attention_alibi", _ALIBI_SIGNATURE)):
    torch.library.define(f"flashneuron::{_name}", f"({_parameters}) -> Tensor")
    torch.library.define(f"flashneuron::{_name}.out", f"({_parameters}, *, Tensor(a!) out) -> Tensor(a!)")


_INT8_LARGEST = 127


def store_rows(rows: Tensor, row_bytes: int, kv_heads: int) -> Tensor:
    """Keys or values, fp32 [n, kv], as rows of a cache, u8 [n, row_bytes]. Their bytes tell the element; heads of 4
    elements, which take as many in int8 as in fp16, are fp16. Errors: ValueError where no element takes so many."""
    count, kv_size = rows.shape
    if row_bytes == 4 * kv_size:
        return rows.contiguous().view(torch.uint8)
    if row_bytes == 2 * kv_size:
        return rows.half().contiguous().view(torch.uint8)
    if row_bytes != kv_size + 4 * kv_heads:
        sizes = f"{4 * kv_size} bytes in fp32, {2 * kv_size} in fp16 or {kv_size + 4 * kv_heads} in int8"
        raise ValueError(f"a KV row of {kv_size} elements takes {sizes}, not {row_bytes}")
    heads = rows.view(count, kv_heads, -1)
    largest = heads.abs().amax(2, keepdim=True)
    factor = _INT8_LARGEST / largest
    scale = (largest / _INT8_LARGEST).where(factor.isfinite(), 0)
    integers = (heads * factor.where(factor.isfinite(), 0)).round().to(torch.int8)
    parts = (integers.reshape(count, -1), scale.reshape(count, -1))
    return torch.cat([part.contiguous().view(torch.uint8) for part in parts], 1)


def load_rows(stored: Tensor, kv_size: int, kv_heads: int) -> Tensor:
    """What the rows of a cache, u8 [n, row_bytes], stand for: fp32 [n, kv]."""
    count, row_bytes = stored.shape
    if row_bytes == 4 * kv_size:
        return stored.contiguous().view(torch.float32)
    if row_bytes == 2 * kv_size:
        return stored.contiguous().view(torch.float16).float()
    integers = stored[:, :kv_size].view(torch.int8).view(count, kv_heads, -1)
    scale = stored[:, kv_size:].contiguous().view(torch.float32)
    return (integers * scale[..., None]).view(count, kv_size)


def attention(
    q: Tensor, k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, position: Tensor, heads: int, kv_heads: int
) -> Tensor:
    """Causal attention of T new tokens over `position` cached rows and themselves.

    q [T, heads × head_size], already scaled; k, v [T, kv]; caches u8 [C, row_bytes]. New keys and values are rounded
    to the cache's element. Returns [T, heads × head_size], fp32.
    """
    return _attend(q, k, v, k_cache, v_cache, position, None, heads, kv_heads)


def attention_alibi(
    q: Tensor, k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, position: Tensor, slopes: Tensor,
    heads: int, kv_heads: int,
) -> Tensor:  # fmt: skip
    """`attention` with linear biases (ALiBi, Press et al. 2022, section 3): slopes fp32 [heads], and slopes[h] × j is
    added to the score of the key at position j. It is not scaled: the caller scales slopes as it scales q."""
    return _attend(q, k, v, k_cache, v_cache, position, slopes, heads, kv_heads)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, position: Tensor, slopes: Tensor | None,
    heads: int, kv_heads: int,
) -> Tensor:  # fmt: skip
    tokens, kv_size = k.shape
    past = int(position.item())

    def rows(cache: Tensor, new: Tensor) -> Tensor:  # [kv_heads, past + tokens, head_size]
        stored = torch.cat([cache[:past], store_rows(new, cache.shape[1], kv_heads)])
        return load_rows(stored, kv_size, kv_heads).view(past + tokens, kv_heads, -1).transpose(0, 1)

    mask = torch.ones(tokens, past + tokens, dtype=torch.bool, device=q.device).tril(past)
    if slopes is not None:
        bias = slopes.view(-1, 1, 1) * torch.arange(past + tokens, device=q.device)
        mask = bias.masked_fill(~mask, float("-inf"))  # [heads, tokens, past + tokens]
    out = torch.nn.functional.scaled_dot_product_attention(
        q.view(tokens, heads, -1).transpose(0, 1)[None],
        rows(k_cache, k)[None],
        rows(v_cache, v)[None],
        attn_mask=mask,
        scale=1.0,
        enable_gqa=heads != kv_heads,
    )
    return out[0].transpose(0, 1).reshape(tokens, -1)


def _shape(q: Tensor, *inputs: Tensor | int) -> Tensor:
    return torch.empty_like(q)


def _attention_out(*inputs: Tensor | int, out: Tensor) -> Tensor:
    return out.copy_(attention(*inputs))  # type: ignore[arg-type]


def _attention_alibi_out(*inputs: Tensor | int, out: Tensor) -> Tensor:
    return out.copy_(attention_alibi(*inputs))  # type: ignore[arg-type]


for _name, _function, _out_function in (
    ("attention", attention, _attention_out),
    ("attention_alibi", attention_alibi, _attention_alibi_out),
):
    torch.library.impl(f"flashneuron::{_name}", ("CPU", "CUDA"), _function)
    torch.library.register_fake(f"flashneuron::{_name}", _shape)
    torch.library.impl(f"flashneuron::{_name}.out", "CPU", _out_function)
