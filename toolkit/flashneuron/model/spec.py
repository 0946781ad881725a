"""What flashneuron needs to know of a model, whatever its family, and the names of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Thresholds:
    """What a neuron must exceed to fire (FORMAT.md, "Neurons")."""

    on: Literal["gate", "product"]
    layers: tuple[float, ...]


@dataclass(frozen=True)
class ModelSpec:
    """Facts of a decoder-only model. Sizes in elements."""

    family: str
    activation: Literal["relu", "fatrelu", "drelu", "silu"]
    layers: int
    hidden_size: int
    ffn_size: int
    heads: int
    kv_heads: int
    head_size: int
    vocab_size: int
    max_context: int
    position_rows: int  # learned positions; 0 where positions are not learned
    norm: Literal["pre", "post"]  # where the norms of attention and FFN stand
    norm_epsilon: float
    final_norm: bool  # a norm before the head
    prompt_prefix_ids: tuple[int, ...]  # put before a prompt's ids (OPT: </s>)
    eos_token_ids: tuple[int, ...]
    gated: bool = False  # FFN neurons have a gate row
    thresholds: Thresholds | None = None  # of fatrelu and silu


class Weights(Protocol):
    """Lazy access to a checkpoint by canonical names; each call reads that tensor alone, in its stored dtype.

    Names (p: width of the embedding, d where there is no projection):
      embed.tokens [vocab, p]   embed.positions [position_rows, d]   embed.project_in [d, p] (optional)
      layers.I.attn_norm.{weight,bias} [d]   layers.I.attn.{q,k,v,o}.{weight,bias} [out, in], [out]
      layers.I.ffn_norm.{weight,bias} [d]
      layers.I.ffn.gate.weight [F, d] (gated)
      layers.I.ffn.up.{weight [F, d], bias [F]}   layers.I.ffn.down.{weight [d, F], bias [d]}   (biases optional)
      final_norm.{weight,bias} [d] (optional)   head.project_out [p, d] (optional)   head.weight [vocab, p]
    """

    def __contains__(self, name: str) -> bool: ...

    def __getitem__(self, name: str) -> torch.Tensor: ...
