"""From text to stored predictors and the table of what they do. Each finished layer is kept if the work is cut off."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from flashneuron.errors import InputError
from flashneuron.model.capture import Capture, CapturedLayer, TokenIds
from flashneuron.model.ffn import Ffn
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.model.token_rows import Rows
from flashneuron.package.predictor_file import read_predictor
from flashneuron.predictor.evaluate import agreement, perplexity
from flashneuron.predictor.fit import RECALL_MARGIN, choose_rank, refine, regress, threshold_for
from flashneuron.predictor.lowrank import LowRank
from flashneuron.predictor.resume import FinishedWork, layer_keys
from flashneuron.predictor.settings import LayerRow, PredictorSettings, PredictorTable
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
) -> PredictorTable:
    """Writes out_dir/layer_LLL.pred. The same call after an interruption goes on with the first missing layer.

    `validation` is only measured on. Errors: InputError for a rank that no layer can have or too little text.
    """
    if settings.rank is not None and settings.rank > min(spec.hidden_size, spec.ffn_size):
        raise InputError(f"--rank {settings.rank} is over the model's width {min(spec.hidden_size, spec.ffn_size)}")
    fit, tuning = split_tuning(train, settings.tokens)
    work, keys = FinishedWork(out_dir), layer_keys(spec, weights, (fit, tuning, validation), settings)
    table = work.table(keys[-1])
    rows = {layer: row for layer, key in enumerate(keys) if (row := work.layer(layer, key)) is not None}
    if table is not None and len(rows) == spec.layers:
        return table
    out_dir.mkdir(parents=True, exist_ok=True)
    work.keep_only(rows)
    missing = [layer for layer in range(spec.layers) if layer not in rows]
    if missing:
        ends = (_tokens(fit), _tokens(fit) + _tokens(tuning))
        capture = Capture(spec, weights, [*fit, *tuning, *validation], out_dir)
        with progress.step("predictors", missing[-1] + 1, "layers") as advance:
            for layer in capture.layers():
                if layer.index in missing:
                    predictor, row = train_layer(layer, ends, settings)
                    work.keep_layer(keys[layer.index], predictor.to_file(layer.index), row, settings)
                    rows[layer.index] = row
                advance(1)
                if layer.index == missing[-1]:
                    break
        del capture
    stored = [LowRank.from_file(read_predictor(work.predictor_path(layer))) for layer in range(spec.layers)]
    table = PredictorTable(
        settings=settings,
        train_tokens=_tokens(fit),
        tuning_tokens=_tokens(tuning),
        layers=[rows[layer] for layer in range(spec.layers)],
        dense=perplexity(spec, weights, validation, None, out_dir, progress),
        predicted=perplexity(spec, weights, validation, stored, out_dir, progress),
    )
    work.keep_table(keys[-1], table)
    return table


def train_layer(layer: CapturedLayer, ends: tuple[int, int], settings: PredictorSettings) -> tuple[LowRank, LayerRow]:
    """Rows of `layer.ffn_input` up to ends[0] are fitted, up to ends[1] tuned on, and the rest measured on."""
    bounds = itertools.pairwise((0, *ends, len(layer.ffn_input)))
    fit, tuning, validation = (layer.ffn_input.part(start, stop) for start, stop in bounds)
    ffn, target = layer.ffn, 1 - RECALL_MARGIN * (1 - settings.recall)
    regression = regress(ffn, fit)
    rank = settings.rank or choose_rank(regression, ffn, _spread(tuning, LADDER_TOKENS), target)
    predictor = refine(regression.at(rank), ffn, fit, settings).rounded(settings.dtype)
    threshold, density = _threshold(predictor, ffn, tuning, target)
    predictor = predictor.shifted(threshold)
    seen = agreement(predictor, ffn, validation)
    row = LayerRow(
        layer=layer.index,
        rank=rank,
        true_density=seen.true_density,
        predicted_density=seen.predicted_density,
        recall=seen.recall,
        precision=seen.precision,
        calibration_density=density,
    )
    return predictor, row


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


def _threshold(predictor: LowRank, ffn: Ffn, tuning: Rows, target: float) -> tuple[float, float]:
    return threshold_for(predictor, ffn, _spread(tuning, TUNING_CELLS // len(ffn.up)), target)


def _spread(x: Rows, rows: int) -> Tensor:
    """At most `rows` rows from everywhere in x."""
    return x[:: -(-len(x) // max(1, rows))]


def _tokens(sequences: Sequence[TokenIds]) -> int:
    return sum(len(ids) for ids in sequences)
