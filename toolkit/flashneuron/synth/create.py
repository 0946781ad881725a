"""What `synth` makes: a Hugging Face folder, or a package without one. Both tell what was published and reached."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from flashneuron.export.pipeline import STATISTICS, disk_full_is_one_line, export_source
from flashneuron.export.recipe import ExportRecipe, PartialPackage, refuse_existing
from flashneuron.package.atomic import atomic_write
from flashneuron.package.layout import predictor_dtype
from flashneuron.package.trace_file import sample_tokens, writing_trace
from flashneuron.progress import Progress
from flashneuron.synth.biasless import BiaslessModel
from flashneuron.synth.folder import check_free_disk, write_shards, write_small_files
from flashneuron.synth.model import VERSION, SyntheticModel, SyntheticSource, facts, measured
from flashneuron.synth.neurons import TRACE_TOKENS, drawn_selections
from flashneuron.synth.opt_folder import opt_shards
from flashneuron.synth.shapes import Shape
from flashneuron.synth.statistics import PUBLISHED


class FolderRecipe(BaseModel):
    """What decides every byte of a synthetic folder."""

    version: int = VERSION
    config: dict[str, Any]
    seed: int


def create_package(shape: Shape, seed: int, output: Path, recipe: ExportRecipe, progress: Progress) -> dict[str, Any]:
    """Returns statistics.json's `synthetic`. Errors: as export_source."""
    source = SyntheticSource(SyntheticModel(shape, seed), predictor_dtype(recipe.dtype), recipe.predictor == "lowrank")
    package = export_source(source, output, recipe, progress)
    found: dict[str, Any] = json.loads(package.read(STATISTICS))["synthetic"]
    return found


def create_trace(shape: Shape, seed: int, output: Path, progress: Progress) -> None:
    """An activation trace (FORMAT.md, trace.bin) with the published sparsity, without a model. Errors: InputError."""
    with disk_full_is_one_line(output):
        refuse_existing(output)
        output.parent.mkdir(parents=True, exist_ok=True)
        tokens = min(TRACE_TOKENS, sample_tokens(shape.layers, shape.ffn_size))
        assert PUBLISHED.similarity is not None
        with (
            progress.step("trace", shape.layers, "layers") as advance,
            writing_trace(output, shape.layers, shape.ffn_size) as trace,
        ):
            for selected, expected in drawn_selections(shape, seed, PUBLISHED.similarity, tokens):
                trace.add(selected, expected)
                advance(1)


def create_folder(shape: Shape, seed: int, output: Path, progress: Progress) -> dict[str, Any]:
    """Returns statistics.json's `synthetic`.

    Interrupted, it leaves `<output>.partial`, from which the same call goes on. Errors: InputError before any work.
    """
    with disk_full_is_one_line(output):
        refuse_existing(output)
        partial = PartialPackage(output)
        model, opt = SyntheticModel(shape, seed), shape.family == "opt"
        shards = opt_shards(shape, model.spec, model.weights) if opt else BiaslessModel(shape, seed).shards()
        check_free_disk(shape, partial.folder)
        if partial.begin(FolderRecipe(config=shape.config, seed=seed), ""):
            progress.note(f"going on with {partial.folder}")
        write_small_files(partial.folder, shape, seed)
        index = write_shards(partial.folder, shards, progress)
        reached = measured(model, partial.folder, progress)[0]
        statistics = facts(shape, seed, reached)
        atomic_write(partial.folder / STATISTICS, json.dumps({"synthetic": statistics}, indent=1).encode())
        partial.finish({*index, STATISTICS, "config.json", "tokenizer.json", "calibration.txt"})
        return statistics
