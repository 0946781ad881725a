"""Everything of a decoder but its embedding and FFNs, as modules: one per layer, and the head. FORMAT.md, "Attention
programs", has their inputs and outputs. The caller runs the FFNs between them:

    residual, ffn_input, k, v = AttentionBlock(spec, i, weights)(residual, ffn_out, k_cache, v_cache, position)
    ffn_out = FFN of layer i of ffn_input

Export traces these modules and activation capture runs them, so both see the same numbers.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from flashneuron.model import attention_op as attention_op  # registers flashneuron::attention
from flashneuron.model.norms import RmsNorm, make_norm
from flashneuron.model.positions import Rotation, alibi_slopes
from flashneuron.model.quantized import QuantizedProjection
from flashneuron.model.spec import ModelSpec, Weights

BlockDtype = Literal["fp32", "fp16", "int8", "int4"]


def empty_cache(spec: ModelSpec) -> Tensor:
    """A cache of no rows, fp32: attention over a sequence that starts at position 0."""
    return torch.empty(0, spec.kv_heads * spec.head_size * 4, dtype=torch.uint8)


class Projection(nn.Module):
    """y = x · weightᵀ + bias in fp32; the product is computed in the weight's element."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.float(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.float(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x.to(self.weight.dtype), self.weight, self.bias).float()


class Block(nn.Module):
    def set_dtype(self, dtype: BlockDtype) -> None:
        """The element of the projections. Residual, norms and attention stay fp32. From an integer type, fp32 gives the
        weights as they are stored. Errors: ModelError where they do not fit the type."""
        for parent in list(self.modules()):
            for name, module in list(parent.named_children()):
                if isinstance(module, Projection | QuantizedProjection):
                    setattr(parent, name, _with_dtype(module, self._element(dtype)))

    def _element(self, dtype: BlockDtype) -> BlockDtype:
        return dtype


def _with_dtype(module: Projection | QuantizedProjection, dtype: BlockDtype) -> nn.Module:
    if isinstance(module, QuantizedProjection):
        module = Projection(module.dequantized(), module.bias)
    if dtype == "int8" or dtype == "int4":
        return QuantizedProjection(module.weight.float(), module.bias, dtype)
    return module.to(torch.float16 if dtype == "fp16" else torch.float32)


class AttentionBlock(Block):
    slopes: Tensor | None

    """Layer `layer` up to its FFN's input. A post-LN model's FFN norm is the start of the next block. A parallel
    model's FFN input is the layer's input after a norm: what the caller gives tells it before attention runs.
    """

    def __init__(self, spec: ModelSpec, layer: int, weights: Weights) -> None:
        super().__init__()
        name = f"layers.{layer}"
        self.heads, self.kv_heads, self.scale = spec.heads, spec.kv_heads, spec.head_size**-0.5
        self.head_size = spec.head_size
        self.pre_norm, self.parallel = spec.norm == "pre", spec.parallel
        self.residual_scale = spec.residual_scale
        self.input_scale = spec.embedding_scale if layer == 0 else 1.0
        self.attn_norm = make_norm(spec, weights, f"{name}.attn_norm")
        if self.pre_norm:
            self.ffn_norm = make_norm(spec, weights, f"{name}.ffn_norm")
        elif layer > 0:
            self.ffn_norm = make_norm(spec, weights, f"layers.{layer - 1}.ffn_norm")
        self.normalize_input = not self.pre_norm and layer > 0
        # One product for all three: the input is rounded once, and a larger matrix is read at a better rate.
        self.sizes = [spec.heads * spec.head_size, *[spec.kv_heads * spec.head_size] * 2]
        self.qkv = Projection(*_read(weights, [f"{name}.attn.{part}" for part in "qkv"]))
        self.o = Projection(*_read(weights, [f"{name}.attn.o"]))
        norms = [f"{name}.attn.{part}_norm.weight" for part in "qk"]
        self.head_norms = nn.ModuleList(RmsNorm(weights[n], spec.norm_epsilon) for n in norms if n in weights)
        self.rotation = Rotation(spec.rope) if spec.rope is not None else None
        self.register_buffer("slopes", alibi_slopes(spec.heads) * self.scale if spec.alibi else None)

    def forward(
        self, residual: Tensor, ffn_out: Tensor, k_cache: Tensor, v_cache: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        residual = self.enter(residual, ffn_out)
        q, k, v = self.project(residual, position)
        inputs, sizes = (q, k, v, k_cache, v_cache, position), (self.heads, self.kv_heads)
        if self.slopes is None:
            mixed = torch.ops.flashneuron.attention(*inputs, *sizes)
        else:
            mixed = torch.ops.flashneuron.attention_alibi(*inputs, self.slopes, *sizes)
        residual, ffn_input = self.finish(residual, mixed)
        return residual, ffn_input, k, v

    def enter(self, residual: Tensor, ffn_out: Tensor) -> Tensor:
        """The layer's input."""
        if self.input_scale != 1:
            residual = residual * self.input_scale
        residual = residual + self._scaled(ffn_out)
        return self.ffn_norm(residual) if self.normalize_input else residual

    def project(self, residual: Tensor, position: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled queries, keys and values of the layer's input. `position`, as in the program, is for RoPE alone."""
        x = self.attn_norm(residual) if self.pre_norm else residual
        qkv, (q_size, kv_size, _) = self.qkv(x), self.sizes
        # Not split(): lowering would fix the number of tokens.
        q, k, v = (
            qkv.narrow(1, start, size) for start, size in ((0, q_size), (q_size, kv_size), (q_size + kv_size, kv_size))
        )
        if self.head_norms or self.rotation is not None:
            q, k = self._positioned(q, k, position)
        return q * self.scale, k, v

    def finish(self, residual: Tensor, mixed: Tensor) -> tuple[Tensor, Tensor]:
        """The residual after attention, and the FFN's input. `residual`: the layer's input."""
        entered, residual = residual, residual + self._scaled(self.o(mixed))
        if self.parallel:
            return residual, self.ffn_norm(entered)
        if self.pre_norm:
            return residual, self.ffn_norm(residual)
        residual = self.attn_norm(residual)
        return residual, residual.clone()

    def _positioned(self, q: Tensor, k: Tensor, position: Tensor | None) -> tuple[Tensor, Tensor]:
        """With the norms and the rotation of heads."""
        heads = [part.reshape(-1, count, self.head_size) for part, count in ((q, self.heads), (k, self.kv_heads))]
        if self.head_norms:
            heads = [norm(part) for norm, part in zip(self.head_norms, heads, strict=True)]
        if self.rotation is not None:
            assert position is not None
            turns = self.rotation.turns(position, q.shape[0])
            heads = [self.rotation(part, turns) for part in heads]
        q, k = (part.reshape(-1, size) for part, size in zip(heads, self.sizes[:2], strict=True))
        return q, k

    def _scaled(self, x: Tensor) -> Tensor:
        return x if self.residual_scale == 1 else x * self.residual_scale


def _read(weights: Weights, names: list[str]) -> tuple[Tensor, Tensor | None]:
    """Weight and bias, if they have any, of projections of the same input, one below the other."""
    biases = [weights[f"{name}.bias"] for name in names if f"{name}.bias" in weights]
    return torch.cat([weights[f"{name}.weight"] for name in names]), torch.cat(biases) if biases else None


class HeadBlock(Block):
    """Logits, fp32 [T, vocab_size], after the last layer's FFN. Its element is never int4, which int8 stands for."""

    def __init__(self, spec: ModelSpec, weights: Weights) -> None:
        super().__init__()
        norms = [f"layers.{spec.layers - 1}.ffn_norm"] if spec.norm == "post" else []
        norms += ["final_norm"] if spec.final_norm else []
        self.norms = nn.Sequential(*(make_norm(spec, weights, name) for name in norms))
        projections = ["head.project_out"] if "head.project_out" in weights else []
        self.projections = nn.Sequential(
            *(Projection(weights[name]) for name in [*projections, "head.weight"]),
        )
        self.residual_scale, self.logit_scale = spec.residual_scale, spec.logit_scale

    def _element(self, dtype: BlockDtype) -> BlockDtype:
        return "int8" if dtype == "int4" else dtype

    def forward(self, residual: Tensor, ffn_out: Tensor) -> Tensor:
        if self.residual_scale != 1:
            ffn_out = ffn_out * self.residual_scale
        x = self.norms(residual + ffn_out)
        logits: Tensor = self.projections(x if self.logit_scale == 1 else x * self.logit_scale)
        return logits
