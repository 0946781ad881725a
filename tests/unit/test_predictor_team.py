"""Several processes, started by torchrun as a user does, make the same predictors as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from planted_opt import planted_opt

from flashneuron.model.folder import ModelFolder
from flashneuron.predictor.team import Team

TEXT = "the quick brown fox jumps over the lazy dog\n" * 400
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
ALONE = [sys.executable, "-m"]
# Products of matrices may differ in their last bit by the number of threads, which torchrun sets.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    folder = tmp_path_factory.mktemp("planted") / "model"
    opened = planted_opt(folder, 4, num_hidden_layers=3)
    (folder / "calibration.txt").write_text(TEXT)
    return opened


@pytest.fixture(scope="module")
def alone(model: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "out"
    assert train(ALONE, model, out).returncode == 0
    return out


def train(launcher: list[str], model: ModelFolder, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [*launcher, "flashneuron", "train-predictor", str(model.path), "-o", str(out), "--format", "json", *more]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def lines_of(process: subprocess.CompletedProcess[str], start: str) -> list[str]:
    return [line for line in process.stderr.splitlines() if line.startswith(start)]


def test_two_processes_make_the_files_of_one(model: ModelFolder, alone: Path, tmp_path: Path) -> None:
    """Three layers: the second round has one process without a layer. Only one process prints."""
    process = train(TORCHRUN, model, tmp_path / "out")
    assert process.returncode == 0, process.stderr
    assert contents(tmp_path / "out") == contents(alone)
    assert json.loads(process.stdout) == json.loads((alone / "table.json").read_text())["table"]
    assert len([line for line in process.stderr.splitlines() if "predictors" in line and "100" in line]) <= 1


def test_what_one_process_left_two_go_on_with(model: ModelFolder, alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("layer_001.pred", "layer_001.json"):
        (out / name).write_bytes((alone / name).read_bytes())
    written = (out / "layer_001.pred").stat().st_mtime_ns
    assert train(TORCHRUN, model, out).returncode == 0
    assert contents(out) == contents(alone)
    assert (out / "layer_001.pred").stat().st_mtime_ns == written
    (out / "table.json").unlink()
    (out / "layer_002.json").unlink()
    assert train(ALONE, model, out).returncode == 0
    assert contents(out) == contents(alone)


def test_what_all_would_say_is_said_once(model: ModelFolder, tmp_path: Path) -> None:
    process = train(TORCHRUN, model, tmp_path / "out", "--rank", "33")
    assert process.returncode != 0
    assert lines_of(process, "flashneuron:") == ["flashneuron: --rank 33 is over the model's width 32"]
    assert 'Traceback (most recent call last):\n  File "' + str(Path(__file__).parents[2]) not in process.stderr


def test_an_error_of_one_process_ends_all_with_its_line(model: ModelFolder, tmp_path: Path) -> None:
    """The second process trains layer 1, whose file it cannot write."""
    (tmp_path / "out" / "layer_001.pred.tmp").mkdir(parents=True)
    process = train(TORCHRUN, model, tmp_path / "out")
    assert process.returncode != 0
    said = lines_of(process, "flashneuron:")
    assert len(said) == 1, process.stderr
    assert "layer_001.pred.tmp" in said[0]
    assert said[0].endswith("(in process 1 of 2)")


@pytest.mark.parametrize(("count", "size"), [(0, 3), (2, 3), (10, 3), (7, 1)])
def test_shares_are_the_whole_in_order(count: int, size: int) -> None:
    shares: list[Any] = [range(count)[Team(rank, size).share(count)] for rank in range(size)]
    assert [index for share in shares for index in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
