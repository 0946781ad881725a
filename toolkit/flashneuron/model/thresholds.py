"""Thresholds that make a dense SwiGLU model sparse: in each layer, the quantile of its neurons' strengths on text.

A layer's strengths are taken with the thresholds of the layers before it in force, so that the share of silent neurons
is what was asked for in the model as it will run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from flashneuron.model.capture import Capture, CapturedLayer, TokenIds, chunks
from flashneuron.model.spec import ModelSpec, ThresholdOn, Thresholds, Weights
from flashneuron.progress import Progress

MAX_CELLS = 2**24  # strengths of a layer that a quantile is taken of


@dataclasses.dataclass(frozen=True)
class Calibrated:
    thresholds: Thresholds
    silent: float  # share of neurons, on the text that was measured on
    perplexity: float  # the same


def with_thresholds(spec: ModelSpec, thresholds: Thresholds) -> ModelSpec:
    return dataclasses.replace(spec, thresholds=thresholds)


def calibrate(
    spec: ModelSpec,
    weights: Weights,
    train: Sequence[TokenIds],
    validation: Sequence[TokenIds],
    on: ThresholdOn,
    sparsity: float,
    progress: Progress,
    work_dir: Path | None = None,
) -> Calibrated:
    """Thresholds on `train` that leave the share `sparsity` (0 … 1, 0 being the dense model) silent, and what they do
    on `validation`. Both texts pass the model once.
    """
    spec = with_thresholds(spec, Thresholds(on, (0.0,) * spec.layers))
    capture, found, silent = Capture(spec, weights, [*train, *validation], work_dir), list[float](), list[float]()
    boundary = sum(len(ids) for ids in train)

    with progress.step(f"{on} thresholds for {sparsity:.0%}", spec.layers + 1, "layers") as advance:
        for layer in capture.layers():
            found.append(_quantile(layer, boundary, sparsity) if sparsity else 0.0)
            layer.ffn = dataclasses.replace(layer.ffn, threshold=found[-1])
            silent.append(1 - _firing_share(layer, boundary))
            advance(1)
        losses = list(capture.losses())[len(train) :]
        advance(1)
    tokens = sum(len(ids) - 1 for ids in validation)
    perplexity = math.exp(math.fsum(losses) / tokens)
    return Calibrated(Thresholds(on, tuple(found)), math.fsum(silent) / len(silent), perplexity)


def _quantile(layer: CapturedLayer, tokens: int, share: float) -> float:
    """Of the strengths of the first `tokens` tokens, or as many from everywhere in them as MAX_CELLS has."""
    ffn, x = layer.ffn, layer.ffn_input.part(0, tokens)
    step = -(-tokens * len(ffn.up) // MAX_CELLS)
    strengths = torch.cat([ffn.strength(rows).flatten() for rows in chunks(x[::step], len(ffn.up), ffn.up.device)])
    return float(strengths.kthvalue(max(1, round(share * len(strengths)))).values)


def _firing_share(layer: CapturedLayer, start: int) -> float:
    ffn, x = layer.ffn, layer.ffn_input.part(start, len(layer.ffn_input))
    counts = [int(ffn.active(rows).sum()) for rows in chunks(x, len(ffn.up), ffn.up.device)]
    return sum(counts) / (len(x) * len(ffn.up))
