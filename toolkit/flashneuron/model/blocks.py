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


class Norm(nn.Module):
    """LayerNorm, always fp32: ExecuTorch's is wrong in fp16 from a width of 256 on."""

    def __init__(self, spec: ModelSpec, weights: Weights, name: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(weights[f"{name}.weight"].float(), requires_grad=False)
        self.bias = nn.Parameter(weights[f"{name}.bias"].float(), requires_grad=False)
        self.epsilon = spec.norm_epsilon

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


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
    """Layer `layer` up to its FFN's input. A post-LN model's FFN norm is the start of the next block."""

    def __init__(self, spec: ModelSpec, layer: int, weights: Weights) -> None:
        super().__init__()
        name = f"layers.{layer}"
        self.heads, self.kv_heads, self.scale = spec.heads, spec.kv_heads, spec.head_size**-0.5
        self.head_size = spec.head_size
        self.pre_norm = spec.norm == "pre"
        self.attn_norm = Norm(spec, weights, f"{name}.attn_norm")
        if self.pre_norm:
            self.ffn_norm = Norm(spec, weights, f"{name}.ffn_norm")
        elif layer > 0:
            self.ffn_norm = Norm(spec, weights, f"layers.{layer - 1}.ffn_norm")
        self.normalize_input = not self.pre_norm and layer > 0
        # One product for all three: the input is rounded once, and a larger matrix is read at a better rate.
        self.sizes = [spec.heads * spec.head_size, *[spec.kv_heads * spec.head_size] * 2]
        parts = ((weights[f"{name}.attn.{part}.weight"], weights[f"{name}.attn.{part}.bias"]) for part in "qkv")
        self.qkv = Projection(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
        self.o = Projection(weights[f"{name}.attn.o.weight"], weights[f"{name}.attn.o.bias"])

    def forward(
        self, residual: Tensor, ffn_out: Tensor, k_cache: Tensor, v_cache: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        residual, q, k, v = self.project(residual, ffn_out)
        mixed = torch.ops.flashneuron.attention(q, k, v, k_cache, v_cache, position, self.heads, self.kv_heads)
        residual, ffn_input = self.finish(residual, mixed)
        return residual, ffn_input, k, v

    def project(self, residual: Tensor, ffn_out: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The new residual, and scaled queries, keys and values of its tokens."""
        residual = residual + ffn_out
        if self.normalize_input:
            residual = self.ffn_norm(residual)
        x = self.attn_norm(residual) if self.pre_norm else residual
        qkv, (q_size, kv_size, _) = self.qkv(x), self.sizes
        # Not split(): lowering would fix the number of tokens.
        q = qkv.narrow(1, 0, q_size) * self.scale
        k, v = (qkv.narrow(1, q_size + start, kv_size) for start in (0, kv_size))
        return residual, q, k, v

    def finish(self, residual: Tensor, mixed: Tensor) -> tuple[Tensor, Tensor]:
        """The residual after attention, and the FFN's input."""
        residual = residual + self.o(mixed)
        if self.pre_norm:
            return residual, self.ffn_norm(residual)
        residual = self.attn_norm(residual)
        return residual, residual.clone()


class HeadBlock(Block):
    """Logits, fp32 [T, vocab_size], after the last layer's FFN. Its element is never int4, which int8 stands for."""

    def __init__(self, spec: ModelSpec, weights: Weights) -> None:
        super().__init__()
        norms = [f"layers.{spec.layers - 1}.ffn_norm"] if spec.norm == "post" else []
        norms += ["final_norm"] if spec.final_norm else []
        self.norms = nn.Sequential(*(Norm(spec, weights, name) for name in norms))
        projections = ["head.project_out"] if "head.project_out" in weights else []
        self.projections = nn.Sequential(
            *(Projection(weights[name]) for name in [*projections, "head.weight"]),
        )

    def _element(self, dtype: BlockDtype) -> BlockDtype:
        return "int8" if dtype == "int4" else dtype

    def forward(self, residual: Tensor, ffn_out: Tensor) -> Tensor:
        logits: Tensor = self.projections(self.norms(residual + ffn_out))
        return logits
