"""What a training of predictors can be told, and what it reports. Field names are those of the stored table."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from flashneuron.package.layout import PredictorDType, PredictorInput

Share = Annotated[float, Field(ge=0, le=1)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PredictorSettings(_Record):
    """`recall`: share of firing neurons to find. `rank`: None chooses one per layer (fit.choose_rank)."""

    recall: Annotated[float, Field(gt=0, lt=1)] = 0.99
    rank: Annotated[int, Field(ge=1, le=65536)] | None = None
    dtype: PredictorDType = "fp16"
    seed: int = 0
    tokens: Annotated[int, Field(ge=1)] = 120_000  # of the training text that are used
    steps: Annotated[int, Field(ge=0)] = 150
    batch_tokens: Annotated[int, Field(ge=1)] = 1024
    learning_rate: Annotated[float, Field(gt=0)] = 0.03  # relative to the size of what is trained
    positive_weight: Annotated[float, Field(gt=0)] = 10.0


class LayerRow(_Record):
    """A layer's stored predictor. Shares of neurons: all but `calibration_density` on the validation text."""

    layer: int
    rank: int
    true_density: Share  # fire
    predicted_density: Share  # are selected
    recall: Share  # of those that fire, selected
    precision: Share  # of those selected, fire
    calibration_density: Share  # are selected, on tuning text: the manifest's `density`


class Perplexity(_Record):
    """exp(nll / tokens); `tokens` counts every id but the first of each sequence, `nll` is Σ −ln p of them."""

    perplexity: float
    nll: float
    tokens: int


class PredictorTable(_Record):
    settings: PredictorSettings  # given predictors go by `dtype` and, where thresholds were fitted, `recall` alone
    given: str | None = None  # where they come from; None: made by flashneuron
    thresholds_fitted: bool = True
    input: PredictorInput = "ffn_input"
    train_tokens: int
    tuning_tokens: int
    layers: list[LayerRow]
    dense: Perplexity | None  # on the validation text; None for random weights, which predict none
    predicted: Perplexity | None  # the same text with every layer's predictor in force; None as above
