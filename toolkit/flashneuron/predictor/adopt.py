"""Given predictors become a package's: stored as its files hold them, and measured as trained ones are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flashneuron.model.capture import CapturedLayer, TokenIds
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.predictor.evaluate import agreement
from flashneuron.predictor.fit import threshold_for
from flashneuron.predictor.given import GivenPredictors
from flashneuron.predictor.lowrank import LowRank
from flashneuron.predictor.settings import LayerRow, PredictorSettings, PredictorTable
from flashneuron.predictor.team import Team
from flashneuron.predictor.train import split_tuning, spread_for_threshold, tuning_recall
from flashneuron.predictor.work import PredictorWork, Texts
from flashneuron.progress import Progress


@dataclass(frozen=True)
class Adoption:
    """`fit_thresholds`: each layer's moves to where `settings.recall` is reached on calibration text, as when training;
    otherwise predictors decide as they were given.
    """

    given: GivenPredictors
    settings: PredictorSettings
    fit_thresholds: bool

    def run(
        self,
        spec: ModelSpec,
        weights: Weights,
        train: list[TokenIds],
        validation: list[TokenIds],
        out_dir: Path,
        progress: Progress,
    ) -> PredictorTable:
        """Writes out_dir/layer_LLL.pred; the same call after an interruption goes on. Precondition: the predictors were
        checked. Error: InputError for too little text.
        """
        _, tuning = split_tuning(train, self.settings.tokens)
        origin = f"{self.given.fingerprint} thresholds {'fitted' if self.fit_thresholds else 'as given'}"
        texts, given_input = Texts([], tuning, validation), self.given.input
        work = PredictorWork(spec, weights, texts, self.settings, self._layer, origin, given_input)
        table = work.run(out_dir, progress, Team())
        return table.model_copy(update={"given": self.given.origin, "thresholds_fitted": self.fit_thresholds})

    def _layer(self, layer: CapturedLayer, ends: tuple[int, int]) -> tuple[LowRank, LayerRow]:
        """Rows up to ends[1] choose the threshold, the rest measure."""
        ffn, end, count = layer.ffn, ends[1], len(layer.ffn_input)
        predictor = self.given.read(layer.index).to(ffn.device).rounded(self.settings.dtype)
        x, seen = (spread_for_threshold(rows.part(0, end), ffn) for rows in (layer.ffn_input, layer.predictor_input))
        if self.fit_thresholds:
            threshold, density = threshold_for(predictor, ffn, x, tuning_recall(self.settings), seen)
            predictor = predictor.shifted(threshold)
        else:
            density = agreement(predictor, ffn, x, seen).predicted_density
        found = agreement(predictor, ffn, layer.ffn_input.part(end, count), layer.predictor_input.part(end, count))
        return predictor, found.row(layer.index, predictor.rank, density)
