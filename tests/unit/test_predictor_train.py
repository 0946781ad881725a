"""train_predictors: files that decide as measured, the same twice, and resumed where they were cut off."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
from click.testing import CliRunner
from planted_opt import planted_opt, random_text

from flashneuron.cli.train_predictor import command
from flashneuron.errors import InputError
from flashneuron.model.capture import Capture
from flashneuron.model.folder import ModelFolder
from flashneuron.predictor.lowrank import LowRank
from flashneuron.predictor.settings import PredictorSettings, PredictorTable
from flashneuron.predictor.train import train_predictors
from flashneuron.progress import Advance, SilentProgress

TRAIN, VALIDATION = random_text(64), random_text(16, seed=1)
SETTINGS = PredictorSettings(steps=20, batch_tokens=256)
RANK = 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return planted_opt(tmp_path_factory.mktemp("planted") / "model", RANK)


def train(model: ModelFolder, out: Path, progress: Any = None, **changes: Any) -> PredictorTable:
    settings = SETTINGS.model_copy(update=changes)
    return train_predictors(model.spec, model.weights, TRAIN, VALIDATION, settings, out, progress or SilentProgress())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def decide(file: Path, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which neurons fire, from the bytes alone as FORMAT.md has them."""
    content = file.read_bytes()
    assert content[:8] == b"FNPRED\0\x01"
    header, _, d, neurons, rank, dtype = struct.unpack_from("<6I", content, 8)
    element = np.dtype({0: "<f4", 1: "<f2"}[dtype])
    bias = np.frombuffer(content, "<f4", neurons, header)
    a_at = -(-(header + 4 * neurons) // 64) * 64
    a = np.frombuffer(content, element, rank * d, a_at).reshape(rank, d).astype(np.float64)
    b_at = -(-(a_at + a.size * element.itemsize) // 64) * 64
    b = np.frombuffer(content[b_at:], element).reshape(neurons, rank).astype(np.float64)
    return (x @ a.T) @ b.T + bias > 0


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_the_files_decide_as_the_table_says(model: ModelFolder, tmp_path: Path, dtype: str) -> None:
    table = train(model, tmp_path, dtype=dtype)
    capture = Capture(model.spec, model.weights, VALIDATION)
    for row, layer in zip(table.layers, capture.layers(), strict=True):
        fires = layer.ffn.active(layer.ffn_input[:]).numpy()
        selected = decide(tmp_path / f"layer_{layer.index:03}.pred", layer.ffn_input[:].double().numpy())
        pair = 2 / fires.size  # one decision may lie in rounding's reach
        assert row.true_density == pytest.approx(fires.mean(), abs=pair)
        assert row.predicted_density == pytest.approx(selected.mean(), abs=pair)
        assert row.recall == pytest.approx((fires & selected).sum() / fires.sum(), abs=2 / fires.sum())
        assert row.precision == pytest.approx((fires & selected).sum() / selected.sum(), abs=2 / selected.sum())


def test_planted_structure_is_found(model: ModelFolder, tmp_path: Path) -> None:
    table = train(model, tmp_path, rank=RANK)
    for row in table.layers:
        assert row.rank == RANK
        assert row.recall >= 0.98
        assert row.precision >= 0.97
    assert table.predicted.perplexity == pytest.approx(table.dense.perplexity, rel=0.01)
    assert table.dense.tokens == table.predicted.tokens == 16 * 39


def test_too_low_a_rank_pays_with_density(model: ModelFolder, tmp_path: Path) -> None:
    low, enough = (train(model, tmp_path / str(rank), rank=rank).layers for rank in (1, RANK))
    for poor, good in zip(low, enough, strict=True):
        assert poor.recall >= 0.95
        assert poor.predicted_density > 1.2 * good.predicted_density


def test_more_recall_costs_density(model: ModelFolder, tmp_path: Path) -> None:
    tables = [train(model, tmp_path / str(recall), rank=2, recall=recall) for recall in (0.7, 0.9, 0.99)]
    for rows in zip(*(table.layers for table in tables), strict=True):
        assert [row.recall for row in rows] == sorted(row.recall for row in rows)
        assert [row.predicted_density for row in rows] == sorted(row.predicted_density for row in rows)


def test_the_same_call_writes_the_same_bytes(model: ModelFolder, tmp_path: Path) -> None:
    first, second = train(model, tmp_path / "a"), train(model, tmp_path / "b")
    assert first == second
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


class Interrupting(SilentProgress):
    """Stops the work as the first layer is reported done."""

    @contextmanager
    def step(self, title: str, total: float, unit: str = "") -> Iterator[Advance]:
        def advance(done: float) -> None:
            raise KeyboardInterrupt

        yield advance


def test_an_interrupted_training_goes_on(model: ModelFolder, tmp_path: Path) -> None:
    whole = train(model, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(model, tmp_path / "cut", Interrupting())
    first = tmp_path / "cut" / "layer_000.pred"
    assert sorted(contents(first.parent)) == ["layer_000.json", "layer_000.pred"]
    written = first.stat().st_mtime_ns
    assert train(model, tmp_path / "cut") == whole
    assert first.stat().st_mtime_ns == written
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_finished_work_is_not_done_again(model: ModelFolder, tmp_path: Path) -> None:
    table = train(model, tmp_path)
    assert train(model, tmp_path, Interrupting()) == table


@pytest.mark.parametrize("changes", [{"recall": 0.9}, {"rank": 3}, {"seed": 1}, {"dtype": "fp32"}])
def test_other_settings_start_anew(model: ModelFolder, tmp_path: Path, changes: dict[str, Any]) -> None:
    train(model, tmp_path / "reused")
    assert train(model, tmp_path / "reused", **changes) == train(model, tmp_path / "fresh", **changes)
    assert contents(tmp_path / "reused") == contents(tmp_path / "fresh")


def test_another_model_starts_anew(model: ModelFolder, tmp_path: Path) -> None:
    other = planted_opt(tmp_path / "model", RANK, seed=1, num_hidden_layers=1)
    train(model, tmp_path / "out")
    train(other, tmp_path / "out")
    assert sorted(contents(tmp_path / "out")) == ["layer_000.json", "layer_000.pred", "table.json"]


@pytest.mark.parametrize("name", ["layer_001.pred", "layer_001.json", "table.json"])
def test_a_damaged_file_is_made_again(model: ModelFolder, tmp_path: Path, name: str) -> None:
    train(model, tmp_path)
    before = contents(tmp_path)
    (tmp_path / name).write_bytes(before[name][:-7] + b"garbage")
    train(model, tmp_path)
    assert contents(tmp_path) == before


def test_impossible_requests_are_refused(model: ModelFolder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--rank 33 is over the model's width 32"):
        train(model, tmp_path / "out", rank=33)
    with pytest.raises(InputError, match="too short"):
        train_predictors(model.spec, model.weights, TRAIN[:1], VALIDATION, SETTINGS, tmp_path / "out", SilentProgress())
    assert not (tmp_path / "out").exists()


def test_the_command_prints_the_table(model: ModelFolder, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 400)
    arguments = [str(model.path), "-o", str(tmp_path / "out"), "--text", str(text), "--rank", "4"]
    shown = CliRunner().invoke(command, [*arguments, "--format", "json"], catch_exceptions=False)
    table = PredictorTable.model_validate(json.loads(shown.stdout))
    assert [row.rank for row in table.layers] == [4, 4]
    again = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "perplexity on held-out text" in again.stdout


def test_a_dense_swiglu_model_is_sent_to_export(tmp_path: Path) -> None:
    dense = tiny_families.save(tiny_families.make("llama"), tmp_path / "llama-tiny")
    result = CliRunner().invoke(command, [str(dense), "-o", str(tmp_path / "out")])
    assert isinstance(result.exception, InputError)
    message = str(result.exception)
    assert "llama-tiny is a dense SwiGLU model" in message
    assert "flashneuron export --sparsity" in message
    assert "\n" not in message
    assert not (tmp_path / "out").exists()


def test_the_command_never_changes_a_package(model: ModelFolder, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    result = CliRunner().invoke(command, [str(model.path), "-o", str(tmp_path / "predictor")])
    assert isinstance(result.exception, InputError)
    assert not (tmp_path / "predictor").exists()


def test_a_norms_weights_become_part_of_the_predictor() -> None:
    torch.manual_seed(1)
    predictor = LowRank(torch.randn(4, 8), torch.randn(16, 4), torch.randn(16))
    z, weight, bias = torch.randn(5, 8), torch.randn(8), torch.randn(8)
    folded = predictor.before_affine(weight, bias)
    assert torch.allclose(folded.logits(z), predictor.logits(z * weight + bias), atol=1e-4)
