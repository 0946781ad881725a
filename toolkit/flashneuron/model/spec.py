"""What flashneuron needs to know of a model, whatever its family, and the names of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import torch


Activation = Literal["relu", "fatrelu", "drelu", "silu"]
ThresholdOn = Literal["gate", "product"]


@dataclass(frozen=True)
class Thresholds:
    """Above what a neuron fires, one number a layer: `gate`, the activated gate's magnitude (fatrelu: the gate itself);
    `product`, the magnitude of activated gate times up.
    """

    on: ThresholdOn
    layers: tuple[float, ...]


@dataclass(frozen=True)
class Rope:
    """Rotary positions over the whole head, its halves being the pairs' first and second numbers."""

    inverse_frequencies: tuple[float, ...]  # of each pair, radians per position
    magnitude: float = 1.0  # of the rotated queries and keys


@dataclass(frozen=True)
class ModelSpec:
    """Facts of a decoder-only model. Sizes in elements."""

    family: str
    activation: Activation
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
    gated: bool = False  # neurons have a gate row besides the up row
    thresholds: Thresholds | None = None  # of fatrelu, and of silu once they are calibrated (thresholds.py)
    norm_kind: Literal["layer", "rms"] = "layer"
    parallel: bool = False  # attention and FFN both take the layer's input
    rope: Rope | None = None
    alibi: bool = False
    embedding_scale: float = 1.0  # of token rows, as layer 0 takes them
    residual_scale: float = 1.0  # of what attention and FFN add
    logit_scale: float = 1.0


class Weights(Protocol):
    """Lazy access to a checkpoint by canonical names; each call reads that tensor alone, in its stored dtype.

    Names (p: width of the embedding, d where there is no projection):
      embed.tokens [vocab, p]   embed.positions [position_rows, d]   embed.project_in [d, p] (optional)
      layers.I.attn_norm.{weight,bias} [d]   layers.I.attn.{q,k,v,o}.{weight,bias} [out, in], [out]
      layers.I.attn.{q,k}_norm.weight [head_size] (optional)   layers.I.ffn_norm.{weight,bias} [d]
      layers.I.ffn.gate.weight [F, d] (where gated)
      layers.I.ffn.up.{weight [F, d], bias [F]}   layers.I.ffn.down.{weight [d, F], bias [d]}
      layers.I.predictor.{fc1.weight [rank, d], fc2.weight [F, rank]} (where the checkpoint carries predictors)
      final_norm.{weight,bias} [d] (optional)   head.project_out [p, d] (optional)   head.weight [vocab, p]
    Any bias may be absent, which is a bias of zeros; RMS norms have none.
    """

    def __contains__(self, name: str) -> bool: ...

    def __getitem__(self, name: str) -> torch.Tensor: ...
