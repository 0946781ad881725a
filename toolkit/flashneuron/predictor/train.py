"""Predictors fitted to a text (fit.py), one of each layer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from flashneuron.errors import InputError
from flashneuron.model.capture import CapturedLayer, TokenIds
from flashneuron.model.ffn import Ffn
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.model.token_rows import Rows
from flashneuron.package.layout import PredictorInput
from flashneuron.predictor.evaluate import agreement
from flashneuron.predictor.fit import RECALL_MARGIN, choose_rank, refine, regress, threshold_for
from flashneuron.predictor.lowrank import LowRank
from flashneuron.predictor.settings import LayerRow, PredictorSettings, PredictorTable
from flashneuron.predictor.team import Team
from flashneuron.predictor.work import PredictorWork, Texts
from flashneuron.progress import Progress

TUNING_EVERY = 8  # each 8th training sequence is kept from the fit, to choose rank and threshold by
LADDER_TOKENS = 4096
TUNING_CELLS = 2**27  # (token, neuron) pairs at most that a threshold is chosen by


def train_predictors(
    spec: ModelSpec,
    weights: Weights,
    train: list[TokenIds],
    validation: list[TokenIds],
    settings: PredictorSettings,
    out_dir: Path,
    progress: Progress,
    team: Team | None = None,
) -> PredictorTable:
    """Writes out_dir/layer_LLL.pred. The same call after an interruption goes on with the first missing layer, by as
    many processes as there are now.

    `validation` is only measured on. Errors: InputError for a rank that no layer can have or too little text.
    """
    if settings.rank is not None and settings.rank > min(spec.hidden_size, spec.ffn_size):
        raise InputError(f"--rank {settings.rank} is over the model's width {min(spec.hidden_size, spec.ffn_size)}")
    texts = Texts(*split_tuning(train, settings.tokens), validation)

    def make(layer: CapturedLayer, ends: tuple[int, int]) -> tuple[LowRank, LayerRow]:
        return train_layer(spec, weights, layer, ends, settings)

    taken = trained_input(spec)
    work = PredictorWork(spec, weights, texts, settings, make, f"trained {taken}", taken)
    return work.run(out_dir, progress, team or Team())


def trained_input(spec: ModelSpec) -> PredictorInput:
    """What predictors that are made here take. Where attention and FFN stand side by side, the FFN's norm is of the
    layer's input: its weights are then a part of the predictor, and what fires is known before attention runs.
    """
    return "normed_layer_input" if spec.parallel and spec.norm_kind == "layer" else "ffn_input"


def refuse_dense(name: str, spec: ModelSpec) -> None:
    """Errors: InputError for SwiGLU without thresholds, whose neurons all fire: there is nothing to predict."""
    if spec.activation == "silu" and spec.thresholds is None:
        what = f"{name} is a dense SwiGLU model: which of its neurons are silent is chosen when it is exported"
        raise InputError(f"{what}; `flashneuron export --sparsity 0.5` chooses that and trains its predictors too")


def train_layer(
    spec: ModelSpec, weights: Weights, layer: CapturedLayer, ends: tuple[int, int], settings: PredictorSettings
) -> tuple[LowRank, LayerRow]:
    """Rows up to ends[0] are fitted, up to ends[1] tuned on, and the rest measured on."""
    bounds = [*itertools.pairwise((0, *ends, len(layer.ffn_input)))]
    fit, tuning, validation = (layer.ffn_input.part(start, stop) for start, stop in bounds)
    _, seen, seen_validation = (layer.predictor_input.part(start, stop) for start, stop in bounds)
    ffn, target = layer.ffn, tuning_recall(settings)
    regression = regress(ffn, fit)
    rank = settings.rank or choose_rank(regression, ffn, _spread(tuning, LADDER_TOKENS), target)
    predictor = refine(regression.at(rank), ffn, fit, settings)
    if trained_input(spec) != "ffn_input":
        norm = (weights[f"layers.{layer.index}.ffn_norm.{part}"] for part in ("weight", "bias"))
        predictor = predictor.before_affine(*(part.to(ffn.device, torch.float32) for part in norm))
    predictor = predictor.rounded(settings.dtype)
    tuning_rows, seen_rows = (spread_for_threshold(part, ffn) for part in (tuning, seen))
    threshold, density = threshold_for(predictor, ffn, tuning_rows, target, seen_rows)
    predictor = predictor.shifted(threshold)
    return predictor, agreement(predictor, ffn, validation, seen_validation).row(layer.index, rank, density)


def tuning_recall(settings: PredictorSettings) -> float:
    """What to reach on tuning text to reach `settings.recall` on other text."""
    return 1 - RECALL_MARGIN * (1 - settings.recall)


def split_tuning(train: Sequence[TokenIds], tokens: int) -> tuple[list[TokenIds], list[TokenIds]]:
    """(to fit, to tune on): about `tokens` in all, from everywhere in the text."""
    share = min(1.0, tokens / max(1, _tokens(train)))
    wanted = max(2, round(share * len(train)))
    if len(train) < 2:
        raise InputError("the calibration text is too short to train predictors with; give more with --text")
    chosen = [train[index] for index in np.linspace(0, len(train) - 1, min(wanted, len(train))).round().astype(int)]
    every = min(TUNING_EVERY, len(chosen))
    return (
        [ids for index, ids in enumerate(chosen) if index % every != every - 1],
        [ids for index, ids in enumerate(chosen) if index % every == every - 1],
    )


def spread_for_threshold(tuning: Rows, ffn: Ffn) -> Tensor:
    """The rows that a threshold is chosen by."""
    return _spread(tuning, TUNING_CELLS // ffn.neurons)


def _spread(x: Rows, rows: int) -> Tensor:
    """At most `rows` rows from everywhere in x."""
    return x[:: -(-len(x) // max(1, rows))]


def _tokens(sequences: Sequence[TokenIds]) -> int:
    return sum(len(ids) for ids in sequences)
