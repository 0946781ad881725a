"""How many of a dense SwiGLU model's neurons are silenced, and what that costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from flashneuron.errors import InputError
from flashneuron.export.texts import Ids, spread
from flashneuron.model.spec import ModelSpec, ThresholdOn, Thresholds, Weights
from flashneuron.model.thresholds import Calibrated, calibrate
from flashneuron.package.atomic import atomic_write
from flashneuron.progress import Progress

RECORD = "thresholds.json"  # in the partial package: what an interrupted export goes on with
CALIBRATION_TOKENS, VALIDATION_TOKENS = 4096, 4096


class SparsityRow(BaseModel):
    """One choice and its price, on held-out text: `silent` is the share of neurons, `perplexity` the model's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: ThresholdOn
    asked: Annotated[float, Field(ge=0, lt=1)]
    silent: float
    perplexity: float


class SparsityRecord(BaseModel):
    """FORMAT.md, statistics.json: `sparsity`, and the thresholds themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chosen: SparsityRow
    dense: SparsityRow
    thresholds: tuple[float, ...]


def check_sparsity(name: str, spec: ModelSpec, sparsity: float | None, with_predictors: bool) -> None:
    """Errors: InputError where the model needs a choice, or has none."""
    if spec.activation != "silu":
        if sparsity is not None:
            raise InputError(f"--sparsity is for dense SwiGLU models; {name} has {spec.activation}, leave it out")
        return
    if sparsity is None:
        what = f"{name} is a dense SwiGLU model, whose neurons are never silent by themselves"
        choice = "choose how many to silence, as --sparsity 0.5 (`flashneuron sparsity` shows what each choice costs)"
        raise InputError(f"{what}; {choice}, or --sparsity 0 --predictor none for the dense model")
    if sparsity == 0 and with_predictors:
        raise InputError("--sparsity 0 leaves no neuron silent, so there is nothing to predict; add --predictor none")


def sparsity_rows(
    spec: ModelSpec,
    weights: Weights,
    texts: tuple[list[Ids], list[Ids]],
    choices: Sequence[tuple[ThresholdOn, float]],
    progress: Progress,
) -> list[tuple[SparsityRow, Thresholds]]:
    """Each choice calibrated on the first of `texts` and measured on the second, one pass over the model each."""
    train, validation = (spread(*pair) for pair in zip(texts, (CALIBRATION_TOKENS, VALIDATION_TOKENS), strict=True))
    found = []
    for on, asked in choices:
        done: Calibrated = calibrate(spec, weights, train, validation, on, asked, progress)
        row = SparsityRow(on=on, asked=asked, silent=done.silent, perplexity=done.perplexity)
        found.append((row, done.thresholds))
    return found


def choose_thresholds(
    spec: ModelSpec,
    weights: Weights,
    texts: tuple[list[Ids], list[Ids]],
    on: ThresholdOn,
    sparsity: float,
    folder: Path,
    progress: Progress,
) -> SparsityRecord:
    """Kept in `folder`."""
    path = folder / RECORD
    if path.exists():
        return SparsityRecord.model_validate_json(path.read_bytes())
    (dense, _), (chosen, thresholds) = sparsity_rows(spec, weights, texts, [(on, 0.0), (on, sparsity)], progress)
    record = SparsityRecord(chosen=chosen, dense=dense, thresholds=thresholds.layers)
    atomic_write(path, json.dumps(record.model_dump()).encode())
    return record
