"""A synthetic model opened like a model folder, and how a package is made of it without one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flashneuron.export.recipe import ExportRecipe
from flashneuron.export.texts import Ids
from flashneuron.export.usage import Selections
from flashneuron.model.families import family_of
from flashneuron.model.spec import ModelSpec
from flashneuron.package.atomic import atomic_write
from flashneuron.package.layout import PredictorDType
from flashneuron.package.predictor_file import write_predictor
from flashneuron.predictor.settings import LayerRow, PredictorSettings, PredictorTable
from flashneuron.progress import Progress
from flashneuron.synth.biasless_weights import BiaslessWeights
from flashneuron.synth.measure import BENCHMARK_TOKENS, calibration_ids, measure, random_ids
from flashneuron.synth.neurons import drawn_selections
from flashneuron.synth.shapes import Shape
from flashneuron.synth.statistics import PUBLISHED, Sparsity
from flashneuron.synth.tokenizer import make_tokenizer
from flashneuron.synth.weights import SyntheticWeights

PREDICTOR_RECALL = 0.95  # by design
VERSION = 1  # of the numbers that a seed gives
_MEASURED = "measured.json"  # beside the predictors, until the work is done


@dataclass(frozen=True)
class SyntheticModel:
    """source.Model."""

    shape: Shape
    seed: int = 0
    synthetic: bool = True

    @property
    def name(self) -> str:
        return f"{self.shape.name}-synthetic"

    @cached_property
    def spec(self) -> ModelSpec:
        bos, eos = (int(self.shape.config[name]) for name in ("bos_token_id", "eos_token_id"))
        return dataclasses.replace(
            family_of(self.shape.config).read_spec(self.shape.config), prompt_prefix_ids=(bos,), eos_token_ids=(eos,)
        )

    @cached_property
    def weights(self) -> SyntheticWeights | BiaslessWeights:
        if self.shape.family == "opt":
            return SyntheticWeights(self.shape, self.seed)
        return BiaslessWeights(self.shape, self.seed, self.spec)

    def tokenizer_json(self) -> bytes:
        return make_tokenizer(self.spec.vocab_size, self.spec.prompt_prefix_ids[0]).to_str().encode()

    def chat(self) -> None:
        """Random weights have nothing to say."""


class SyntheticSource:
    """source.Source: predictors are given, and one pass over random tokens measures what they and the model do."""

    def __init__(self, model: SyntheticModel, dtype: PredictorDType = "fp16", with_predictors: bool = True) -> None:
        self.model = model
        self._dtype, self._with_predictors = dtype, with_predictors
        self._reached: Sparsity | None = None

    def fingerprint(self) -> str:
        return f"synthetic {VERSION} {self.model.seed} {json.dumps(self.model.shape.config, sort_keys=True)}"

    def sequences(self) -> list[Ids]:
        return [calibration_ids(self.model.spec, self.model.seed)]

    def held_out(self) -> list[Ids]:
        """None: what random weights make of text says nothing."""
        return []

    def with_thresholds(self, recipe: ExportRecipe, folder: Path, progress: Progress) -> SyntheticSource:
        return self

    def predictors(self, folder: Path, progress: Progress) -> PredictorTable | None:
        reached, rows = measured(self.model, folder, progress)
        self._reached = reached
        if not self._with_predictors:
            return None
        for layer in range(self.model.spec.layers):
            path = folder / f"layer_{layer:03}.pred"
            if not path.exists():
                write_predictor(path, self.model.weights.predictor(layer).to_file(layer), self._dtype)
        settings = PredictorSettings(recall=PREDICTOR_RECALL, dtype=self._dtype, seed=self.model.seed, steps=0)
        return PredictorTable(
            settings=settings, train_tokens=0, tuning_tokens=0, layers=rows, dense=None, predicted=None
        )

    def selections(self, folder: Path) -> Iterator[Selections] | None:
        """What frequencies, an order and the trace are made of; None without predictors. Drawn, for their number's
        sake, with the similarity of neighbouring layers that was measured.
        """
        if not self._with_predictors:
            return None
        similarity = self._reached.similarity if self._reached else None
        similarity = PUBLISHED.similarity if similarity is None else similarity
        assert similarity is not None
        return (Selections(*both) for both in drawn_selections(self.model.shape, self.model.seed, similarity))

    def statistics(self) -> dict[str, Any]:
        assert self._reached is not None  # predictors() comes before
        return {"calibration_text": "random ids", "synthetic": facts(self.model.shape, self.model.seed, self._reached)}


def measured(model: SyntheticModel, folder: Path, progress: Progress) -> tuple[Sparsity, list[LayerRow]]:
    """Kept in `folder`, where an interrupted run finds it."""
    path = folder / _MEASURED
    if not path.exists():
        ids = calibration_ids(model.spec, model.seed)
        found = measure(model.spec, model.weights, model.weights.predictor, ids, progress)
        content = {"sparsity": asdict(found.sparsity), "rows": [row.model_dump() for row in found.rows]}
        atomic_write(path, json.dumps(content).encode())
    content = json.loads(path.read_bytes())
    return Sparsity(**content["sparsity"]), [LayerRow.model_validate(row) for row in content["rows"]]


def facts(shape: Shape, seed: int, reached: Sparsity) -> dict[str, Any]:
    """What statistics.json says of a synthetic model, under `synthetic`."""
    count = min(BENCHMARK_TOKENS, int(shape.config["max_position_embeddings"]) - 1)
    return {
        "shape": shape.name,
        "seed": seed,
        "published": asdict(PUBLISHED),
        "reached": asdict(reached),
        "benchmark_token_ids": random_ids(shape.vocab_size, seed, "benchmark", count).tolist(),
    }
