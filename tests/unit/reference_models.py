"""Families that transformers has no class of, in plain PyTorch: what their authors' code computes, and the folders that
it writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import relu, softmax


def fatrelu(threshold: float) -> nn.Module:
    return nn.Threshold(threshold, 0.0)


class RmsNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * self.weight


class Attention(nn.Module):
    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        d, self.heads, self.kv_heads = (
            config[name] for name in ("hidden_size", "num_attention_heads", "num_key_value_heads")
        )
        self.size = d // self.heads
        self.q_proj = nn.Linear(d, self.heads * self.size, bias=False)
        self.k_proj = nn.Linear(d, self.kv_heads * self.size, bias=False)
        self.v_proj = nn.Linear(d, self.kv_heads * self.size, bias=False)
        self.o_proj = nn.Linear(self.heads * self.size, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """One sequence [n, d], head by head and pair by pair, as the papers write it."""
        q, k, v = (projection(x).view(len(x), -1, self.size) for projection in (self.q_proj, self.k_proj, self.v_proj))
        mask = torch.full((len(x), len(x)), -torch.inf).triu(1)
        mixed = []
        for head in range(self.heads):
            of = head * self.kv_heads // self.heads
            scores = rotated(q[:, head]) @ rotated(k[:, of]).T / self.size**0.5
            mixed.append(softmax(scores + mask, -1) @ v[:, of])
        return self.o_proj(torch.cat(mixed, -1))


def rotated(x: Tensor) -> Tensor:
    """[n, size]: number i and number i + size/2 are a point in the plane, turned by position · 10000^(-2i/size)."""
    half = x.shape[1] // 2
    points = torch.complex(x[:, :half], x[:, half:])
    rates = 10000.0 ** (-torch.arange(half) / half)
    turned = points * torch.exp(1j * torch.outer(torch.arange(len(x)).float(), rates))
    return torch.cat([turned.real, turned.imag], -1)


class Mlp(nn.Module):
    def __init__(self, config: dict[str, Any], act_gate: Callable[[Tensor], Tensor], act_up: Any = None) -> None:
        super().__init__()
        d, ffn = config["hidden_size"], config["intermediate_size"]
        self.gate_proj, self.up_proj = nn.Linear(d, ffn, bias=False), nn.Linear(d, ffn, bias=False)
        self.down_proj = nn.Linear(ffn, d, bias=False)
        self.act_gate, self.act_up = act_gate, act_up or (lambda x: x)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act_gate(self.gate_proj(x)) * self.act_up(self.up_proj(x)))


class Layer(nn.Module):
    def __init__(self, config: dict[str, Any], mlp: nn.Module, residual_scale: float) -> None:
        super().__init__()
        self.self_attn, self.mlp, self.scale = Attention(config), mlp, residual_scale
        self.input_layernorm = RmsNorm(config["hidden_size"])
        self.post_attention_layernorm = RmsNorm(config["hidden_size"])

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x)) * self.scale
        return x + self.mlp(self.post_attention_layernorm(x)) * self.scale


class Decoder(nn.Module):
    """`fields`: what the family has in config.json besides Llama's fields."""

    def __init__(
        self, config: dict[str, Any], fields: dict[str, Any], mlp: Callable[[], nn.Module], tied: bool,
        scales: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:  # fmt: skip
        super().__init__()
        d, vocabulary = config["hidden_size"], config["vocab_size"]
        self.fields = {name: value for name, value in config.items() if name != "attn_implementation"} | fields
        self.embedding_scale, residual_scale, self.logit_scale = scales
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(vocabulary, d)
        self.model.layers = nn.ModuleList(
            Layer(config, mlp(), residual_scale) for _ in range(config["num_hidden_layers"])
        )
        self.model.norm = RmsNorm(d)
        self.lm_head = None if tied else nn.Linear(d, vocabulary, bias=False)

    def forward(self, ids: Tensor) -> SimpleNamespace:
        x = self.model.embed_tokens(ids[0]) * self.embedding_scale
        for layer in self.model.layers:
            x = layer(x)
        x = self.model.norm(x) * self.logit_scale
        logits = x @ self.model.embed_tokens.weight.T if self.lm_head is None else self.lm_head(x)
        return SimpleNamespace(logits=logits[None])

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.fields))
        save_file({name: tensor.clone() for name, tensor in self.state_dict().items()}, folder / "model.safetensors")


class MiniCpm(Decoder):
    def __init__(self, config: dict[str, Any]) -> None:
        fields = {
            "model_type": "minicpm", "hidden_act": "fatrelu", "hidden_act_param": 0.05, "scale_emb": 12,
            "scale_depth": 1.4, "dim_model_base": 8, "rope_scaling": None, "rope_theta": 10000.0, "pretraining_tp": 1,
        }  # fmt: skip
        scales = (12.0, 1.4 / config["num_hidden_layers"] ** 0.5, 8 / config["hidden_size"])
        super().__init__(config, fields, lambda: Mlp(config, fatrelu(0.05)), tied=True, scales=scales)


class Bamboo(Decoder):
    def __init__(self, config: dict[str, Any]) -> None:
        fields = {
            "model_type": "bamboo", "hidden_act": "relu", "sliding_window": 4096, "rope_theta": 10000.0,
            "tie_word_embeddings": False,
        }  # fmt: skip
        super().__init__(config, fields, lambda: Mlp(config, relu, relu), tied=False)
