"""`export` and `inspect` as people call them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_opt
from click.testing import CliRunner

from flashneuron.cli import inspect
from flashneuron.cli.package_summary import describe, render
from flashneuron.errors import PackageError
from flashneuron.package.manifest import Package, file_entry, write_manifest

TINY = Path(__file__).parents[1] / "data" / "tiny_package"


def flashneuron(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from flashneuron.cli.main import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


def test_inspect_json() -> None:
    result = CliRunner().invoke(inspect.command, [str(TINY), "--format", "json", "--verify"])
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert data["model"]["hidden_size"] == 32
    assert data["bytes_by_role"]["ffn"] == 2 * (4 * 2 * 16384 + 96 * (2 * 128 + 64 + 64))
    variants = [(variant["layout"], variant["order"]) for variant in data["ffn"]["variants"]]
    assert variants == [("bundled", "none"), ("split", "none"), ("bundled", "coactivation")]
    assert 0 < data["ffn"]["frequency"]["neurons_of_half"] < 0.5


def with_statistics(folder: Path, predictor: object) -> Package:
    """The fixture package with a statistics.json."""
    shutil.copytree(TINY, folder)
    (folder / "statistics.json").write_text(json.dumps({"predictor": predictor}))
    manifest = Package.open(TINY).manifest
    entry = file_entry(folder, "statistics.json", "statistics")
    write_manifest(folder, manifest.model_copy(update={"files": (*manifest.files, entry)}))
    return Package.open(folder)


def test_inspect_shows_the_predictors(tmp_path: Path) -> None:
    row = {"true_density": 0.05, "predicted_density": 0.125, "recall": 0.9912, "precision": 0.4}
    table = {
        "settings": {},
        "train_tokens": 1,
        "tuning_tokens": 1,
        "layers": [row | {"layer": i, "rank": 4 + i, "calibration_density": 0.1, "later": 1} for i in range(2)],
        "dense": {"perplexity": 20.0, "nll": 3.0, "tokens": 1},
        "predicted": {"perplexity": 20.1, "nll": 3.0, "tokens": 1},
    }
    shown = render(describe(with_statistics(tmp_path / "p", table)))
    assert "1     5  5.00%     12.50%  99.12%     40.00%" in shown
    assert "dense 20.000, predicted 20.100 (+0.50%)" in shown
    assert "no predictors" in render(describe(with_statistics(tmp_path / "q", None)))
    with pytest.raises(PackageError, match=r"statistics\.json is not a predictor table"):
        describe(with_statistics(tmp_path / "r", {"layers": 3}))


def test_inspect_names_the_first_defect(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "p")
    (tmp_path / "p" / "embedding.bin").unlink()
    result = flashneuron("inspect", tmp_path / "p")
    assert (result.returncode, result.stdout) == (2, "")
    assert "embedding.bin is missing" in result.stderr
    assert result.stderr.count("\n") == 1
    assert flashneuron("inspect", tmp_path).returncode == 2


def test_inspect_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from flashneuron.cli.inspect import command; command([sys.argv[1]])"
    )
    result = subprocess.run([sys.executable, "-c", code, str(TINY)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "synthetic" in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--recall", "1.5"], "--recall 1.5"),
        (["--rank", "0"], "--rank 0"),
        (["--layout", "bundled,spiral"], "--layout"),
        (["--order", "none,random"], "--order"),
        (["--max-chunk", "1"], "--max-chunk 1"),
        (["--dtype", "int3"], "--dtype"),
        ([], "is not a folder"),
    ],
)
def test_export_refuses_in_one_line(options: list[str], words: str, tmp_path: Path) -> None:
    result = flashneuron("export", tmp_path / "nowhere", "-o", tmp_path / "p", *options)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_export_without_torch_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from flashneuron.cli.main import main; main()"
    arguments = ["export", str(tmp_path), "-o", str(tmp_path / "p")]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert result.returncode == 2
    assert "pip install 'flashneuron[export]'" in result.stderr


def test_export_prints_the_package(tmp_path: Path) -> None:
    model = tiny_opt.save_safetensors(tiny_opt.make_model(num_hidden_layers=1), tmp_path / "m")
    result = flashneuron("export", model, "-o", tmp_path / "p", "--predictor", "none", "--format", "json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["predictor"] is None
    again = flashneuron("export", model, "-o", tmp_path / "p")
    assert again.returncode == 2
    assert "exists; choose another output folder" in again.stderr
