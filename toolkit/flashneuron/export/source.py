"""What an export is made from: a model, and who knows its predictors. Here a Hugging Face folder; `synth` has more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from flashneuron.errors import InputError
from flashneuron.export.recipe import ExportRecipe
from flashneuron.export.sparsity import SparsityRecord, check_sparsity, choose_thresholds
from flashneuron.export.texts import CalibrationText, Ids, read_texts, token_sequences
from flashneuron.export.usage import Selections, predicted_selections
from flashneuron.model.folder import ModelFolder, open_model
from flashneuron.model.spec import ModelSpec, Thresholds, Weights
from flashneuron.package.layout import predictor_dtype
from flashneuron.package.schema import ChatFacts
from flashneuron.predictor.adopt import Adoption
from flashneuron.predictor.given import GivenPredictors, carried_predictors, predictors_in
from flashneuron.predictor.settings import PredictorSettings, PredictorTable
from flashneuron.predictor.train import train_predictors, trained_input
from flashneuron.progress import Progress


class Model(Protocol):
    """A model with lazy weights; `folder.ModelFolder` is one."""

    @property
    def name(self) -> str: ...
    @property
    def spec(self) -> ModelSpec: ...
    @property
    def weights(self) -> Weights: ...
    @property
    def synthetic(self) -> bool: ...
    def tokenizer_json(self) -> bytes: ...
    def chat(self) -> ChatFacts | None: ...


class Source(Protocol):
    """Made only if what it reads is sound: an export asks it nothing that it could still refuse."""

    @property
    def model(self) -> Model: ...

    def fingerprint(self) -> str:
        """Changes when anything does that the package is made of, but for the recipe."""
        ...

    def sequences(self) -> list[Ids]:
        """Calibration text as ids, each sequence from position 0; empty where no text was read."""
        ...

    def held_out(self) -> list[Ids]:
        """The same of text that nothing is calibrated on."""
        ...

    def with_thresholds(self, recipe: ExportRecipe, folder: Path, progress: Progress) -> Source:
        """Itself, but of a dense SwiGLU model, which gets thresholds; what is in `folder` is kept."""
        ...

    def predictors(self, folder: Path, progress: Progress) -> PredictorTable | None:
        """Writes folder/layer_LLL.pred and says what they do; None: there are none. What is there is kept."""
        ...

    def selections(self, folder: Path) -> Iterator[Selections] | None:
        """What the predictors in `folder` select on calibration text, layer by layer, tokens in the order of the text;
        None: unknown.
        """
        ...

    def statistics(self) -> dict[str, Any]:
        """Keys of statistics.json besides `predictor`; asked for last."""
        ...


@dataclass(frozen=True)
class FolderSource:
    model: ModelFolder
    text: CalibrationText | None  # None: none is read
    settings: PredictorSettings = field(default_factory=PredictorSettings)
    trains: bool = True  # has predictors, made here or given; needs a text
    sparsity: SparsityRecord | None = None
    given: GivenPredictors | None = None  # else they are trained
    fit_thresholds: bool = False

    def fingerprint(self) -> str:
        given = self.given.fingerprint if self.given else ""
        return f"{self.model.fingerprint()} {self.text.fingerprint() if self.text else ''} {given}"

    def sequences(self) -> list[Ids]:
        return self._sequences[0]

    def held_out(self) -> list[Ids]:
        return self._sequences[1]

    def with_thresholds(self, recipe: ExportRecipe, folder: Path, progress: Progress) -> Source:
        model, spec = self.model, self.model.spec
        if spec.activation != "silu" or recipe.sparsity is None:
            return self
        if not recipe.sparsity:
            thresholds = Thresholds(recipe.threshold_on, (0.0,) * spec.layers)
            return replace(self, model=replace(model, spec=replace(spec, thresholds=thresholds)))
        record = choose_thresholds(
            spec, model.weights, self._sequences, recipe.threshold_on, recipe.sparsity, folder, progress
        )
        thresholds = Thresholds(recipe.threshold_on, record.thresholds)
        return replace(self, model=replace(model, spec=replace(spec, thresholds=thresholds)), sparsity=record)

    def predictors(self, folder: Path, progress: Progress) -> PredictorTable | None:
        if not self.trains:
            return None
        train, validation = self._sequences
        spec, weights = self.model.spec, self.model.weights
        if self.given is not None:
            adoption = Adoption(self.given, self.settings, self.fit_thresholds)
            return adoption.run(spec, weights, train, validation, folder, progress)
        return train_predictors(spec, weights, train, validation, self.settings, folder, progress)

    def selections(self, folder: Path) -> Iterator[Selections] | None:
        if not self.trains:
            return None
        taken = self.given.input if self.given else trained_input(self.model.spec)
        return predicted_selections(self.model.spec, self.model.weights, self.sequences(), folder, folder, taken)

    def statistics(self) -> dict[str, Any]:
        sparsity = {"sparsity": self.sparsity.model_dump(exclude={"thresholds"})} if self.sparsity else {}
        return {"calibration_text": self.text.source if self.text else None, **sparsity}

    @cached_property
    def _sequences(self) -> tuple[list[Ids], list[Ids]]:
        return token_sequences(self.text, self.model) if self.text else ([], [])


def open_source(model_path: Path, recipe: ExportRecipe) -> FolderSource:
    """Errors: InputError for a folder, text, rank or predictors that no package can be made of."""
    model = open_model(model_path)
    model.chat()
    given = _given_predictors(model, recipe)
    trains = recipe.predictor == "lowrank"
    check_sparsity(model.name, model.spec, recipe.sparsity, trains)
    text = read_texts(recipe.texts, model.path) if trains or recipe.sparsity else None
    settings = PredictorSettings(recall=recipe.recall, rank=recipe.rank, dtype=predictor_dtype(recipe.dtype))
    source = FolderSource(model, text, settings, trains, given=given, fit_thresholds=recipe.fit_thresholds)
    if given is not None:
        source.fingerprint()
        given.check_range(settings.dtype)
    if text is not None:
        source.sequences()
        if (recipe.rank or 0) > (width := min(model.spec.hidden_size, model.spec.ffn_size)):
            raise InputError(f"--rank {recipe.rank} is over the model's width {width}; choose a smaller one")
    return source


def _given_predictors(model: ModelFolder, recipe: ExportRecipe) -> GivenPredictors | None:
    """What the recipe says to use instead of training."""
    wanted, given = recipe.predictors_from, None
    if recipe.predictor == "none":
        if wanted is not None:
            raise InputError(f"--predictors-from {wanted} says that there are predictors, --predictor none that not")
    elif wanted is None:
        given = carried_predictors(model.spec, model.weights)
    elif wanted != "train":
        folder = Path(wanted)
        if not folder.is_dir():
            raise InputError(f"--predictors-from {wanted} is not a folder; give one with predictors, or `train`")
        given = predictors_in(folder, model.spec)
    if given is None and recipe.fit_thresholds:
        raise InputError("--fit-thresholds is for predictors that are given; trained ones have theirs fitted anyway")
    if given is not None and recipe.rank is not None:
        raise InputError(f"--rank {recipe.rank} is for training; predictors from {given.origin} have theirs")
    return given
