"""Predictors of all layers, whoever makes them: one pass over the text, each finished layer kept if the work is cut
off, and the table of what they do. A team passes the text in shares and makes as many layers at a time as it has
processes; what comes out does not depend on their number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flashneuron.model.capture import Capture, CapturedLayer, TokenIds
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.package.layout import PredictorInput
from flashneuron.package.predictor_file import read_predictor
from flashneuron.predictor.evaluate import perplexity
from flashneuron.predictor.lowrank import LowRank
from flashneuron.predictor.resume import FinishedWork, layer_keys
from flashneuron.predictor.settings import LayerRow, PredictorSettings, PredictorTable
from flashneuron.predictor.team import Team
from flashneuron.progress import Progress, SilentProgress


@dataclass(frozen=True)
class Texts:
    """Token sequences: to fit weights to, to choose by, and to measure on alone."""

    fit: list[TokenIds]
    tuning: list[TokenIds]
    validation: list[TokenIds]

    @property
    def ends(self) -> tuple[int, int]:
        """Where the tokens of `fit` and of `tuning` end, in the order of `sequences`."""
        return _tokens(self.fit), _tokens(self.fit) + _tokens(self.tuning)

    @property
    def sequences(self) -> list[TokenIds]:
        return [*self.fit, *self.tuning, *self.validation]


@dataclass(frozen=True)
class PredictorWork:
    """`make` gives the predictor of a layer, as its file will hold it, and what it does."""

    spec: ModelSpec
    weights: Weights
    texts: Texts
    settings: PredictorSettings
    make: Callable[[CapturedLayer, tuple[int, int]], tuple[LowRank, LayerRow]]
    origin: str = "trained"  # changes when `make` does
    input: PredictorInput = "ffn_input"

    def run(self, out_dir: Path, progress: Progress, team: Team) -> PredictorTable:
        """Writes out_dir/layer_LLL.pred. The same call after an interruption goes on with the first missing layer."""
        work = FinishedWork(out_dir)
        with team.together():
            found = self._finished(work) if team.leads else None
        keys, rows, table = team.tell(found) or ([], {}, None)
        if table is not None and len(rows) == self.spec.layers:
            return table
        progress = progress if team.leads else SilentProgress()
        with team.together():
            out_dir.mkdir(parents=True, exist_ok=True)
            if team.leads:
                work.keep_only(rows)
        if missing := [layer for layer in range(self.spec.layers) if layer not in rows]:
            rows |= self._make_layers(missing, work, keys, out_dir, progress, team)
        table = self._table(rows, work, out_dir, progress, team)
        with team.together():
            if team.leads:
                work.keep_table(keys[-1], table)
        return table

    def _finished(self, work: FinishedWork) -> tuple[list[str], dict[int, LayerRow], PredictorTable | None]:
        """The key of each layer, the rows of those that stand, and the table if that does."""
        texts = (self.texts.fit, self.texts.tuning, self.texts.validation)
        keys = layer_keys(self.spec, self.weights, texts, self.settings, self.origin)
        rows = {layer: row for layer, key in enumerate(keys) if (row := work.layer(layer, key)) is not None}
        return keys, rows, work.table(keys[-1])

    def _make_layers(
        self, missing: list[int], work: FinishedWork, keys: list[str], out_dir: Path, progress: Progress, team: Team
    ) -> dict[int, LayerRow]:
        rows: dict[int, LayerRow] = {}
        mine: CapturedLayer | None = None
        with team.together():
            sequences = self.texts.sequences
            share = sequences[team.share(len(sequences))]
            layers = Capture(self.spec, self.weights, share, out_dir, self.input).layers()
        with progress.step("predictors", missing[-1] + 1, "layers") as advance:
            for index in range(missing[-1] + 1):
                with team.together():
                    layer = next(layers)
                if index in missing:
                    turn = missing.index(index) % team.size
                    mine = _collected(layer, turn, out_dir, team) or mine
                    if turn == team.size - 1 or index == missing[-1]:
                        rows |= self._make_mine(mine, work, keys, team)
                        mine = None
                advance(1)
        return rows

    def _make_mine(
        self, mine: CapturedLayer | None, work: FinishedWork, keys: list[str], team: Team
    ) -> dict[int, LayerRow]:
        """One layer in each process that has one; the rows of all."""
        row: LayerRow | None = None
        with team.together():
            if mine is not None:
                predictor, row = self.make(mine, self.texts.ends)
                work.keep_layer(keys[mine.index], predictor.to_file(mine.index), row, self.settings)
        return {row.layer: row for row in team.gather(row) if row is not None}

    def _table(
        self, rows: dict[int, LayerRow], work: FinishedWork, out_dir: Path, progress: Progress, team: Team
    ) -> PredictorTable:
        with team.together():
            files = (work.predictor_path(layer) for layer in range(self.spec.layers))
            stored = [LowRank.from_file(read_predictor(path)) for path in files]
        dense, predicted = (
            perplexity(self.spec, self.weights, self.texts.validation, used, out_dir, progress, self.input, team)
            for used in (None, stored)
        )
        return PredictorTable(
            settings=self.settings,
            input=self.input,
            train_tokens=_tokens(self.texts.fit),
            tuning_tokens=_tokens(self.texts.tuning),
            layers=[rows[layer] for layer in range(self.spec.layers)],
            dense=dense,
            predicted=predicted,
        )


def _collected(layer: CapturedLayer, owner: int, work_dir: Path, team: Team) -> CapturedLayer | None:
    """The layer with the rows of all processes, in the one that owns it."""
    ffn_input = team.collect(layer.ffn_input, owner, work_dir)
    same = layer.predictor_input is layer.ffn_input
    seen = ffn_input if same else team.collect(layer.predictor_input, owner, work_dir)
    if ffn_input is None or seen is None:
        return None
    return CapturedLayer(layer.index, layer.ffn, ffn_input, seen)


def _tokens(sequences: list[TokenIds]) -> int:
    return sum(len(ids) for ids in sequences)
