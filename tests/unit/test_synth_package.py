"""`flashneuron synth`: packages and folders as the command makes them, interrupted work, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flashneuron.cli.main import cli
from flashneuron.cli.synth import render
from flashneuron.errors import InputError
from flashneuron.export import pipeline
from flashneuron.export.recipe import ExportRecipe
from flashneuron.package.verify import verify
from flashneuron.progress import SilentProgress
from flashneuron.synth import create, folder
from flashneuron.synth.create import create_folder, create_package
from flashneuron.synth.shapes import SHAPES, opt

TINY = opt("tiny", 2, 64, 4, vocabulary=600, context=64)
QUIET = SilentProgress()


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def interrupt(*arguments: Any) -> Any:
    raise KeyboardInterrupt


def test_a_package_verifies_and_says_that_it_is_synthetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With real attention programs; cut off once on the way."""
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_golden", interrupt)
        with pytest.raises(KeyboardInterrupt):
            create_package(TINY, 0, tmp_path / "p", ExportRecipe(), QUIET)
    found = create_package(TINY, 0, tmp_path / "p", ExportRecipe(), QUIET)
    package = verify(tmp_path / "p")
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
    assert package.manifest.synthetic
    assert package.manifest.name == "tiny-synthetic"
    assert [layer.rank for layer in package.manifest.predictors[0].layers] == [32, 32]
    statistics = json.loads(package.read("statistics.json"))
    assert statistics["synthetic"] == found
    assert statistics["predictor"]["dense"] is None
    assert len(set(found["benchmark_token_ids"])) == 63
    assert all(layer.density == pytest.approx(0.1, rel=0.5) for layer in package.manifest.predictors[0].layers)
    shown = CliRunner().invoke(cli, ["inspect", str(tmp_path / "p")])
    assert shown.exit_code == 0
    assert "synthetic" in shown.output


def test_an_interrupted_folder_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_folder(TINY, 0, tmp_path / "whole", QUIET)
    with monkeypatch.context() as patch:
        patch.setattr(create, "measured", interrupt)
        with pytest.raises(KeyboardInterrupt):
            create_folder(TINY, 0, tmp_path / "m", QUIET)
    shards = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "m.partial").glob("*.safetensors")}
    assert len(shards) == 3
    create_folder(TINY, 0, tmp_path / "m", QUIET)
    assert contents(tmp_path / "m") == contents(tmp_path / "whole")
    assert shards == {name: (tmp_path / "m" / name).stat().st_mtime_ns for name in shards}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "whole"]


def test_refusals_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(words: str, *arguments: str) -> None:
        result = CliRunner().invoke(cli, ["synth", "-o", str(tmp_path / "x"), *arguments])
        assert isinstance(result.exception, InputError)
        assert words in str(result.exception)
        assert "\n" not in str(result.exception)
        assert not list(tmp_path.iterdir())

    refused("no shape 'gpt-2'; there are opt-125m", "--shape", "gpt-2")
    refused("--layout", "--shape", "opt-125m", "--package", "--layout", "round")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda path: usage._replace(free=1 << 30))
    refused("the folder needs about 12.", "--shape", "opt-6.7b")
    refused("the package needs about 12.", "--shape", "opt-6.7b", "--package", "--predictor", "none")


@pytest.mark.parametrize("shape", [TINY, opt("wide", 1, 96, 4, vocabulary=5000, context=64)])
def test_the_size_is_estimated_before(shape: Any, tmp_path: Path) -> None:
    create_folder(shape, 0, tmp_path / "m", QUIET)
    size = sum(len(content) for content in contents(tmp_path / "m").values())
    assert size < folder.estimate_bytes(shape) < size + (17 << 20)


@pytest.mark.parametrize(("name", "billions"), [
    ("opt-125m", 0.125), ("opt-1.3b", 1.3), ("opt-2.7b", 2.7), ("opt-6.7b", 6.7), ("opt-13b", 13), ("opt-30b", 30),
    ("opt-66b", 66), ("falcon-7b", 6.9), ("llama-2-7b", 6.74),
])  # fmt: skip
def test_shapes_have_their_size(name: str, billions: float) -> None:
    assert folder.estimate_bytes(SHAPES[name]) / 2e9 == pytest.approx(billions, rel=0.03, abs=0.015)


def test_the_table_has_published_beside_reached(tmp_path: Path) -> None:
    data = create_folder(TINY, 0, tmp_path / "m", QUIET)
    shown = render(data)
    assert "synthetic" in shown
    row = next(line for line in shown.splitlines() if line.startswith("newly needed"))
    assert "2.40%" in row
    assert f"{data['reached']['new']:.2%}" in row
    assert "not measured" in render(data | {"reached": None})
