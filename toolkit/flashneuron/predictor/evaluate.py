"""What stored predictors do on text: shares of one layer's neurons, and perplexity with all of them in force."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from flashneuron.model.capture import Capture, TokenIds, chunks
from flashneuron.model.ffn import Ffn
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.model.token_rows import Rows
from flashneuron.package.layout import PredictorInput
from flashneuron.predictor.lowrank import LowRank
from flashneuron.predictor.settings import LayerRow, Perplexity
from flashneuron.predictor.team import Team
from flashneuron.progress import Progress, SilentProgress


@dataclass(frozen=True)
class Agreement:
    """Counts of (token, neuron) pairs. Shares of nothing are 1."""

    pairs: int
    firing: int
    selected: int
    found: int  # firing and selected

    @property
    def true_density(self) -> float:
        return self.firing / self.pairs

    @property
    def predicted_density(self) -> float:
        return self.selected / self.pairs

    @property
    def recall(self) -> float:
        return self.found / self.firing if self.firing else 1.0

    @property
    def precision(self) -> float:
        return self.found / self.selected if self.selected else 1.0

    def row(self, layer: int, rank: int, calibration_density: float) -> LayerRow:
        return LayerRow(
            layer=layer,
            rank=rank,
            true_density=self.true_density,
            predicted_density=self.predicted_density,
            recall=self.recall,
            precision=self.precision,
            calibration_density=calibration_density,
        )


def agreement(predictor: LowRank, ffn: Ffn, x: Rows, seen: Rows | None = None) -> Agreement:
    """x: FFN inputs [N, d], on any device; `seen`: the predictor's, if they are others."""
    counts = [0, 0, 0]
    rows = (chunks(part, ffn.neurons, ffn.device) for part in (x, x if seen is None else seen))
    for ffn_input, predictor_input in zip(*rows, strict=True):
        fires, selected = ffn.active(ffn_input), predictor.selects(predictor_input)
        for index, pairs in enumerate((fires, selected, fires & selected)):
            counts[index] += int(pairs.sum())
    return Agreement(len(x) * ffn.neurons, *counts)


def perplexity(
    spec: ModelSpec,
    weights: Weights,
    sequences: Sequence[TokenIds],
    predictors: Sequence[LowRank] | None = None,
    work_dir: Path | None = None,
    progress: Progress | None = None,
    predictor_input: PredictorInput = "ffn_input",
    team: Team | None = None,
) -> Perplexity:
    """Teacher-forced, each sequence from its start. `predictors`, one a layer, limit the neurons of every layer at
    once, so that their misses add up as they do in the runtime; None computes all. A team shares the sequences.
    """

    def select(layer: int, x: Tensor) -> Tensor:
        assert predictors is not None
        return predictors[layer].to(x.device).selects(x)

    team, losses = team or Team(), list[float]()
    title = "perplexity, dense" if predictors is None else "perplexity, predicted"
    with (
        team.together(),
        (progress or SilentProgress()).step(title, spec.layers + 1, "layers") as advance,
    ):
        share = sequences[team.share(len(sequences))]
        capture = Capture(spec, weights, share, work_dir, "ffn_input" if predictors is None else predictor_input)
        for _ in capture.layers(None if predictors is None else select):
            advance(1)
        losses = list(capture.losses())
        advance(1)
    nll = math.fsum(loss for part in team.gather(losses) for loss in part)
    tokens = sum(len(ids) - 1 for ids in sequences)
    return Perplexity(perplexity=math.exp(nll / tokens), nll=nll, tokens=tokens)
