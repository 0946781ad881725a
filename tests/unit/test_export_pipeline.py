"""Whole exports of small models: what comes out, what interruption leaves, and what is refused before any work."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_opt

from flashneuron.cli.package_summary import describe, render
from flashneuron.errors import FlashneuronError, InputError
from flashneuron.export import disk, pipeline
from flashneuron.export.backends import report_path
from flashneuron.export.pipeline import export_model
from flashneuron.export.recipe import ExportRecipe
from flashneuron.model.folder import open_model
from flashneuron.package.ffn_file import FfnShard
from flashneuron.package.manifest import Package
from flashneuron.package.neuron_lists import read_frequency, read_places
from flashneuron.package.verify import verify
from flashneuron.progress import SilentProgress

SAMPLE = Path(__file__).parents[2] / "models" / "sample"
WITHOUT = ExportRecipe(predictor="none")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_opt.save_safetensors(tiny_opt.make_model(), tmp_path_factory.mktemp("models") / "tiny")
    (folder / "calibration.txt").write_text((SAMPLE / "calibration.txt").read_text()[:8000])
    (folder / "heldout.txt").write_text((SAMPLE / "heldout.txt").read_text()[:2000])
    return folder


@pytest.fixture
def without_lowering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention programs of a few bytes: lowering takes seconds and is tested where it lives."""

    def export_attention(
        spec: Any, weights: Any, folder: Path, dtype: str, chunk: int, progress: Any, records: Path | None
    ) -> dict[str, Any]:
        layers = [f"attention/xnnpack/layer_{i:03}.pte" for i in range(spec.layers)]
        for name in [*layers, "head.xnnpack.pte"]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(name.encode())
            report_path(folder / name).write_text('{"delegated": {}, "outside": {}}')
        return {"backend": "xnnpack", "dtype": dtype, "max_chunk": chunk, "layers": layers, "head": "head.xnnpack.pte"}

    monkeypatch.setattr(pipeline, "export_attention", export_attention)


def export(model: Path, output: Path, recipe: ExportRecipe = WITHOUT) -> Package:
    return export_model(model, output, recipe, SilentProgress())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_whole_export_verifies(model: Path, tmp_path: Path) -> None:
    """With real attention programs and trained predictors."""
    recipe = ExportRecipe(layouts=("bundled", "split"), orders=("none", "coactivation"), rank=4)
    export(model, tmp_path / "p", recipe)
    package = verify(tmp_path / "p")
    assert list(tmp_path.iterdir()) == [tmp_path / "p"]
    manifest = package.manifest
    found = [(variant.layout, variant.order) for variant in manifest.ffn.variants]
    assert found == [(layout, order) for layout in recipe.layouts for order in recipe.orders]
    assert_the_same_neurons(package)
    frequencies = [read_frequency(package.path_of(name)) for name in manifest.ffn.frequency or ()]
    assert len(frequencies) == 2
    assert all(0 < frequency.mean() < 1 for frequency in frequencies)
    assert [layer.rank for layer in manifest.predictors[0].layers] == [4, 4]
    assert all(0 < layer.density <= 1 for layer in manifest.predictors[0].layers)
    assert (manifest.model.prompt_prefix_ids, manifest.attention[0].max_chunk) == ((2,), 40)
    assert package.read("attention/xnnpack/layer_001.pte")[4:8] == b"ET12"
    statistics = json.loads(package.read("statistics.json"))
    assert len(statistics["predictor"]["layers"]) == 2
    assert all(row["run_length_after"] >= 1 for row in statistics["order"]["layers"])
    assert statistics["precision"]["stored"] == pytest.approx(statistics["precision"]["fp32"], rel=0.01)
    assert "by co-activation" in (shown := render(describe(package)))
    assert "as stored (FFN in fp16, attention in fp16)" in shown


def assert_the_same_neurons(package: Package) -> None:
    """A permuted variant holds each neuron at its place."""
    variants = package.manifest.ffn.variants
    for plain, permuted in zip(variants[::2], variants[1::2], strict=True):
        for layer, name in enumerate(permuted.places or ()):
            parts = (variant.layers[layer].parts(variant.layout).values() for variant in (plain, permuted))
            for names in zip(*parts, strict=True):
                before, after = ([FfnShard.open(package.path_of(n)).records() for n in shards] for shards in names)
                places = read_places(package.path_of(name))
                assert np.array_equal(np.concatenate(after)[places], np.concatenate(before))


@pytest.mark.usefixtures("without_lowering")
class TestInterruption:
    STEPS = ("write_embedding", "export_attention", "write_ffn", "write_golden", "write_statistics", "file_entry")

    @pytest.mark.parametrize("step", STEPS)
    def test_it_goes_on_where_it_was(
        self, step: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        export(model, tmp_path / "whole")
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, step, _raise(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                export(model, tmp_path / "p")
        assert [path.name for path in tmp_path.iterdir() if path.name != "whole"] == ["p.partial"]
        assert not (tmp_path / "p.partial" / "manifest.json").exists()
        kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "p.partial").rglob("*.ffn")}
        assert bool(kept) == (step not in self.STEPS[:3])
        export(model, tmp_path / "p")
        assert contents(tmp_path / "p") == contents(tmp_path / "whole")
        for path, written in kept.items():
            assert (tmp_path / "p" / path.relative_to(tmp_path / "p.partial")).stat().st_mtime_ns == written

    def test_another_recipe_starts_clean(self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "write_golden", _raise(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                export(model, tmp_path / "p")
        package = export(model, tmp_path / "p", ExportRecipe(predictor="none", dtype="fp32"))
        assert package.manifest.ffn.dtype == "fp32"
        verify(tmp_path / "p")

    def test_a_changed_model_starts_clean(self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        copy = tiny_opt.copy(model, tmp_path / "model")
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "write_golden", _raise(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                export(copy, tmp_path / "p")
        tiny_opt.save_safetensors(tiny_opt.make_model(seed=1), copy)
        export(copy, tmp_path / "p")
        export(copy, tmp_path / "again")
        assert contents(tmp_path / "p") == contents(tmp_path / "again")

    def test_left_over_files_do_not_stay(self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "write_golden", _raise(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                export(model, tmp_path / "p")
        (tmp_path / "p.partial" / "ffn" / "half.ffn.tmp").write_bytes(b"x")
        (tmp_path / "p.partial" / "stray").write_bytes(b"x")
        export(model, tmp_path / "p")
        verify(tmp_path / "p")

    def test_a_full_disk_is_one_line_and_resumable(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "write_golden", _raise(OSError(errno.ENOSPC, "No space left on device")))
            with pytest.raises(FlashneuronError, match="is full; free some and run the same command again"):
                export(model, tmp_path / "p")
        assert not (tmp_path / "p").exists()
        export(model, tmp_path / "p")
        verify(tmp_path / "p")


def _raise(error: BaseException) -> Callable[..., Any]:
    def step(*arguments: Any) -> Any:
        raise error

    return step


def test_refusals_leave_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(words: str, recipe: ExportRecipe = WITHOUT, source: Path = model) -> None:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(InputError, match=words) as caught:
            export(source, tmp_path / "p", recipe)
        assert "\n" not in str(caught.value)
        assert sorted(tmp_path.rglob("*")) == before

    refuse("is not a folder", source=tmp_path / "nowhere")
    refuse("nothing.txt cannot be read", ExportRecipe(texts=(tmp_path / "nothing.txt",)))
    refuse("--order coactivation needs predictors", ExportRecipe(predictor="none", orders=("coactivation",)))
    refuse("--rank 33 is over the model's width 32", ExportRecipe(rank=33))
    (tmp_path / "latin1.txt").write_bytes(b"\xe9" * 9000)
    refuse("is not UTF-8", ExportRecipe(texts=(tmp_path / "latin1.txt",)))
    (tmp_path / "short.txt").write_text("short\n")
    refuse("gives 6 tokens to calibrate", ExportRecipe(texts=(tmp_path / "short.txt",)))
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(disk.shutil, "disk_usage", lambda folder: usage._replace(free=1 << 20))
        refuse(r"the package needs about .* MiB, .* has 1\.00 MiB free")
    (tmp_path / "p").mkdir()
    refuse("exists; choose another output folder")


@pytest.mark.usefixtures("without_lowering")
def test_a_chat_template_comes_along(model: Path, tmp_path: Path) -> None:
    assert export(model, tmp_path / "without").manifest.chat is None
    chatty = shutil.copytree(model, tmp_path / "chatty")
    (chatty / "chat_template.jinja").write_text("{{ messages[0].content }}?")
    package = export(chatty, tmp_path / "with")
    assert package.manifest.chat is not None
    assert package.manifest.chat.template == "{{ messages[0].content }}?"
    assert "chat template" in render(describe(package))


@pytest.mark.usefixtures("without_lowering")
def test_the_size_is_estimated_before(model: Path, tmp_path: Path) -> None:
    recipe = ExportRecipe(predictor="none", layouts=("bundled", "split"))
    package = export(model, tmp_path / "p", recipe)
    estimate = disk.estimate_bytes(open_model(model).spec, recipe)
    size = sum(package.role_bytes().values())
    assert size < estimate < size + (17 << 20)
