"""Runs a model over many token sequences layer by layer, and shows each FFN's input on the way.

All tokens pass one layer before the next layer's weights are read, so memory holds one layer and two rows of
`hidden_size` per token: the residual, and an exchange row that is the FFN's output before a layer and its input after.
What a sequence gives does not depend on the others, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from flashneuron.errors import ModelError
from flashneuron.model.blocks import AttentionBlock, Block, HeadBlock, empty_cache
from flashneuron.model.ffn import Ffn
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.model.token_rows import Rows, TokenRows
from flashneuron.package.layout import BEFORE_ATTENTION, PredictorInput

CHUNK_BYTES = 16 * 2**20  # of one [tokens, F] or [tokens, vocabulary] intermediate

Select = Callable[[int, Tensor], Tensor]  # (layer, predictor's input [n, d]) → bool [n, F]: the neurons to compute
TokenIds = np.ndarray[Any, Any]  # integers [length]


@dataclass
class CapturedLayer:
    index: int
    ffn: Ffn  # what later layers see the results of; another one may be put in its place
    ffn_input: TokenRows  # [N, d], N tokens of all sequences in order; valid until the next layer is asked for
    predictor_input: TokenRows  # the same, of what a predictor takes


class Parts(Protocol):
    """A model in pieces, each loaded when it is asked for."""

    def embeddings(self, sequences: Sequence[TokenIds]) -> Iterator[Tensor]:
        """Input of layer 0 of each sequence from position 0, fp32 [its length, d]."""
        ...

    def block(self, index: int) -> Block: ...
    def ffn(self, index: int) -> Ffn: ...
    def head(self) -> Block: ...


@dataclass(frozen=True)
class CheckpointParts:
    """`Parts` of a checkpoint, in fp32."""

    spec: ModelSpec
    weights: Weights

    def embeddings(self, sequences: Sequence[TokenIds]) -> Iterator[Tensor]:
        """FORMAT.md, embedding.bin: token[id] + position[p] in fp32. The tables are read once."""
        tokens = self.weights["embed.tokens"]
        project = self.weights["embed.project_in"].float() if "embed.project_in" in self.weights else None
        positions = self.weights["embed.positions"].float() if self.spec.position_rows else None
        for ids in sequences:
            rows = tokens[torch.from_numpy(ids.astype(np.int64))].float()
            rows = rows if project is None else rows @ project.T
            yield rows if positions is None else rows + positions[: len(ids)]

    def block(self, index: int) -> Block:
        return AttentionBlock(self.spec, index, self.weights)

    def ffn(self, index: int) -> Ffn:
        return Ffn.load(self.spec, self.weights, index)

    def head(self) -> Block:
        return HeadBlock(self.spec, self.weights)


def compute_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def chunk_rows(width: int) -> int:
    """Tokens whose fp32 rows of `width` fit in CHUNK_BYTES."""
    return max(1, CHUNK_BYTES // (4 * width))


def chunks(x: Rows, width: int, device: torch.device) -> Iterator[Tensor]:
    """Consecutive rows of x on `device`, as many at a time as an fp32 [rows, width] of CHUNK_BYTES has."""
    step = chunk_rows(width)
    return (x[start : start + step].to(device) for start in range(0, len(x), step))


class Capture:
    """One pass over `sequences` (each at most `max_context` ids): take `layers()` to its end, then `losses()`.
    Predictors see `predictor_input` (FORMAT.md, "predictor"); one of the layer's input is a third row per token.
    `parts`: other pieces than the checkpoint's.
    """

    def __init__(
        self,
        spec: ModelSpec,
        weights: Weights,
        sequences: Sequence[TokenIds],
        work_dir: Path | None = None,
        predictor_input: PredictorInput = "ffn_input",
        parts: Parts | None = None,
    ) -> None:
        _check(spec, sequences)
        self._spec, self._sequences = spec, sequences
        self._parts = parts or CheckpointParts(spec, weights)
        self._spans = _spans(sequences)
        tokens = self._spans[-1].stop if self._spans else 0
        self._residual = TokenRows(tokens, spec.hidden_size, work_dir)
        self._exchange = TokenRows(tokens, spec.hidden_size, work_dir)
        self._keeps_input = predictor_input in BEFORE_ATTENTION
        self._norms_input = predictor_input == "normed_layer_input"
        self._seen = self._residual if predictor_input == "residual" else self._exchange  # by a predictor
        if self._keeps_input:
            self._seen = TokenRows(tokens, spec.hidden_size, work_dir)
        for rows, span in zip(self._parts.embeddings(sequences), self._spans, strict=True):
            self._residual[span] = rows

    @torch.no_grad()
    def layers(self, select: Select | None = None) -> Iterator[CapturedLayer]:
        """Each layer in turn. `select` limits the neurons that later layers see the results of."""
        for index in range(self._spec.layers):
            self._attend(index)
            layer = CapturedLayer(index, self._parts.ffn(index).to(compute_device()), self._exchange, self._seen)
            yield layer
            self._feed_forward(index, layer.ffn, select)

    @torch.no_grad()
    def losses(self) -> Iterator[float]:
        """−Σ ln p(next id) of each sequence, over all its ids but the first."""
        device = compute_device()
        head = self._parts.head().to(device)
        step = chunk_rows(self._spec.vocab_size)
        for ids, span in zip(self._sequences, self._spans, strict=True):
            targets, loss = torch.from_numpy(ids[1:].astype(np.int64)), 0.0
            for start in range(0, len(targets), step):
                target = targets[start : start + step]
                rows = slice(span.start + start, span.start + start + len(target))
                logits = head(self._residual[rows].to(device), self._exchange[rows].to(device))
                loss += torch.nn.functional.cross_entropy(logits, target.to(device), reduction="sum").item()
            yield loss

    def _attend(self, index: int) -> None:
        device = compute_device()
        block = self._parts.block(index).to(device)
        cache, start = empty_cache(self._spec).to(device), torch.zeros(1, dtype=torch.int64, device=device)
        for span in self._spans:
            before, ffn_out = self._residual[span].to(device), self._exchange[span].to(device)
            if self._keeps_input:
                entered = before + ffn_out
                self._seen[span] = _normed(entered) if self._norms_input else entered
            residual, ffn_input, _, _ = block(before, ffn_out, cache, cache, start)
            self._residual[span], self._exchange[span] = residual, ffn_input

    def _feed_forward(self, index: int, ffn: Ffn, select: Select | None) -> None:
        step = chunk_rows(self._spec.ffn_size)
        scratch = torch.empty(step, self._spec.ffn_size, device=ffn.device)
        for span in self._spans:
            for start in range(span.start, span.stop, step):
                rows = slice(start, min(start + step, span.stop))
                x = self._exchange[rows].to(ffn.device)
                selected = select(index, self._seen[rows].to(ffn.device)) if select else None
                self._exchange[rows] = ffn(x, selected, scratch[: len(x)])


def _normed(x: Tensor) -> Tensor:
    """FORMAT.md, "predictor", of rows [n, d]."""
    return torch.nn.functional.layer_norm(x, x.shape[1:], eps=1e-5)


def _check(spec: ModelSpec, sequences: Sequence[TokenIds]) -> None:
    for ids in sequences:
        if not 0 < len(ids) <= spec.max_context:
            raise ValueError(f"a sequence has {len(ids)} ids; 1 to {spec.max_context} are possible")
        if ids.min() < 0 or ids.max() >= spec.vocab_size:
            raise ModelError(
                f"the text has token id {ids.max()} and the model's vocabulary {spec.vocab_size}: "
                "tokenizer.json is another model's; use the one that belongs to this checkpoint"
            )


def _spans(sequences: Sequence[TokenIds]) -> list[slice]:
    ends = np.cumsum([len(ids) for ids in sequences]).tolist()
    return [slice(end - len(ids), end) for ids, end in zip(sequences, ends, strict=True)]
