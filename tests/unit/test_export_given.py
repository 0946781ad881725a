"""Packages of predictors that were made elsewhere, as `flashneuron export` makes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_opt
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from tiny_predictors import RANK, powerinfer_files, two_matrices

from flashneuron.cli.export import command
from flashneuron.errors import InputError
from flashneuron.model.folder import open_model
from flashneuron.package.manifest import Package
from flashneuron.package.predictor_file import read_predictor
from flashneuron.package.verify import verify

TEXT = "the quick brown fox jumps over the lazy dog\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_opt.save_safetensors(tiny_opt.make_model(), tmp_path_factory.mktemp("models") / "tiny")
    (folder / "calibration.txt").write_text(TEXT * 80)
    (folder / "heldout.txt").write_text(TEXT * 40)
    return folder


@pytest.fixture(scope="module")
def files(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return powerinfer_files(tmp_path_factory.mktemp("given") / "files", open_model(model).spec)


def export(model: Path, output: Path, *options: str, style: str = "table") -> str:
    arguments = [str(model), "-o", str(output), "--attention", "fp32", "--format", style, *options]
    return CliRunner().invoke(command, arguments, catch_exceptions=False).stdout


def refused(model: Path, output: Path, *options: str) -> str:
    error = CliRunner().invoke(command, [str(model), "-o", str(output), *options]).exception
    assert isinstance(error, InputError)
    assert list(output.parent.iterdir()) == [], "before any work"
    return str(error)


def test_powerinfer_s_files_become_a_package(model: Path, files: Path, tmp_path: Path) -> None:
    shown = export(model, tmp_path / "p", "--predictors-from", str(files), "--dtype", "fp32")
    assert f"predictors from {files}, thresholds as they were, input residual" in shown
    assert "perplexity on held-out text" in shown
    manifest = verify(tmp_path / "p").manifest
    (facts,) = manifest.predictors
    assert (facts.input, [layer.rank for layer in facts.layers]) == ("residual", [RANK] * 2)
    stored = read_predictor(tmp_path / "p" / facts.layers[1].file)
    assert stored.relu
    assert torch.equal(torch.tensor(stored.b), two_matrices(open_model(model).spec, 1)["fc2.weight"])
    statistics = json.loads((tmp_path / "p" / "statistics.json").read_text())["predictor"]
    assert statistics["predicted"]["perplexity"] > 0
    assert [row["calibration_density"] for row in statistics["layers"]] == [layer.density for layer in facts.layers]


def test_predictors_of_the_checkpoint_need_no_option_and_can_be_ignored(model: Path, tmp_path: Path) -> None:
    carrying = tiny_opt.copy(model, tmp_path / "carrying")
    tensors = load_file(carrying / "model.safetensors")
    spec = open_model(model).spec
    for layer in range(spec.layers):
        for name, tensor in two_matrices(spec, layer).items():
            tensors[f"model.layers.{layer}.mlp.predictor.{name}"] = tensor
    save_file(tensors, carrying / "model.safetensors", {"format": "pt"})
    found: dict[str, Any] = json.loads(export(carrying, tmp_path / "a", "--fit-thresholds", style="json"))["predictor"]
    assert (found["given"], found["thresholds_fitted"], found["input"]) == ("the checkpoint", True, "residual")
    assert all(row["recall"] > 0.97 for row in found["layers"])
    trained = json.loads(export(carrying, tmp_path / "b", "--predictors-from", "train", style="json"))["predictor"]
    assert (trained["given"], trained["input"]) == (None, "ffn_input")
    without = Package.open(tmp_path / "b").manifest.predictors[0]
    assert without.input == "ffn_input"


def test_what_contradicts_itself_is_refused(model: Path, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    given = ("--predictors-from", str(files))
    assert "--predictor none that not" in refused(model, out, *given, "--predictor", "none")
    assert "is not a folder" in refused(model, out, "--predictors-from", str(files / "model_0.pt"))
    assert "--fit-thresholds is for predictors that are given" in refused(model, out, "--fit-thresholds")
    assert "--rank 4 is for training" in refused(model, out, *given, "--rank", "4")
    assert "has no predictors" in refused(model, out, "--predictors-from", str(model))
