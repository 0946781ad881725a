"""Predictors decide in the runtime, on this machine, as they do in PyTorch, whatever they read: made elsewhere, or
trained for a family whose attention and FFN stand side by side.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import tiny_families
import tiny_opt
from tiny_predictors import powerinfer_files

from flashneuron.export.pipeline import export_source
from flashneuron.export.recipe import ExportRecipe
from flashneuron.export.source import open_source
from flashneuron.export.texts import read_texts, token_sequences
from flashneuron.model.folder import open_model
from flashneuron.package.layout import DType, PredictorInput
from flashneuron.predictor.settings import PredictorTable
from flashneuron.profile.session import open_session
from flashneuron.profile.settings import RunSettings
from flashneuron.progress import SilentProgress

TEXT = "the quick brown fox jumps over the lazy dog\n"


@pytest.mark.parametrize(
    ("taken", "dtype", "tolerance"),
    [
        ("residual", "fp32", 0.02),
        ("layer_input", "fp32", 0.02),
        ("normed_layer_input", "fp32", 0.02),
        ("ffn_input", "fp32", 0.02),
        ("residual", "int8", 0.4),
    ],
)
def test_the_runtime_scores_a_text_as_pytorch_does(
    tmp_path: Path, taken: PredictorInput, dtype: DType, tolerance: float
) -> None:
    """Random predictors change a text's −Σ ln p, each its own way: by as much as in PyTorch, `tolerance` in nats (of
    int8 more: its neurons are not PyTorch's fp32).
    """
    folder = tiny_opt.save_safetensors(tiny_opt.make_model(hidden_size=64, ffn_dim=256), tmp_path / "model")
    (folder / "calibration.txt").write_text(TEXT * 60)
    (folder / "heldout.txt").write_text(TEXT * 30)
    opened = open_model(folder)
    files = powerinfer_files(tmp_path / "files", opened.spec)
    recipe = ExportRecipe(dtype=dtype, attention="fp32", predictors_from=str(files), max_chunk=8)
    source = open_source(folder, recipe)
    assert source.given is not None
    source = dataclasses.replace(source, given=dataclasses.replace(source.given, input=taken))
    package = export_source(source, tmp_path / "p", recipe, SilentProgress())
    assert package.manifest.predictors[0].input == taken
    table = PredictorTable.model_validate(json.loads(package.read("statistics.json"))["predictor"])
    assert table.dense is not None
    assert table.predicted is not None
    effect = table.predicted.nll - table.dense.nll
    assert abs(effect) > 5 * tolerance
    sequences = [ids.tolist() for ids in token_sequences(read_texts((), folder), opened)[1]]
    with open_session(package, "host", SilentProgress()) as session:
        scores = session.score(RunSettings(kv="fp32", predictor="lowrank"), sequences, lambda tokens: None)
        dense = session.score(RunSettings(kv="fp32", predictor="none"), sequences, lambda tokens: None)
    assert scores.tokens == table.predicted.tokens
    assert scores.nll - dense.nll == pytest.approx(effect, abs=tolerance)


def test_falcons_neurons_are_read_before_attention(tmp_path: Path) -> None:
    """With overlap every miss that fits was read early, and what comes out is the same to the bit."""
    folder = tiny_families.save(tiny_families.make("falcon-7b"), tmp_path / "model")
    (folder / "calibration.txt").write_text(TEXT * 60)
    (folder / "heldout.txt").write_text(TEXT * 30)
    recipe = ExportRecipe(dtype="fp32", attention="fp32", max_chunk=8)
    package = export_source(open_source(folder, recipe), tmp_path / "p", recipe, SilentProgress())
    assert package.manifest.predictors[0].input == "normed_layer_input"
    table = PredictorTable.model_validate(json.loads(package.read("statistics.json"))["predictor"])
    assert table.predicted is not None
    assert min(row.recall for row in table.layers) > 0.9
    sequences = [ids.tolist() for ids in token_sequences(read_texts((), folder), open_model(folder))[1]]
    found = {}
    with open_session(package, "host", SilentProgress()) as session:
        for overlap in ("on", "off"):
            settings = RunSettings(kv="fp32", predictor="lowrank", window=1, hot="off", overlap=overlap)
            found[overlap] = session.score(settings, sequences, lambda tokens: None)
    totals = {overlap: scores.result.totals for overlap, scores in found.items()}
    assert found["on"].nll == found["off"].nll == pytest.approx(table.predicted.nll, abs=0.02)
    assert totals["on"].misses == totals["off"].misses > 0
    assert totals["on"].early == totals["on"].early_used == totals["on"].misses
    assert totals["off"].early == 0
