"""From a model to a model package. `export_source` is the table of contents; each step keeps the files of an
interrupted run, and only the last step makes something that looks like a package.
"""

from __future__ import annotations

import dataclasses
import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flashneuron
from flashneuron.errors import FlashneuronError, InputError
from flashneuron.export.activation_check import doubt_activation
from flashneuron.export.attention import check_attention, check_standard, export_attention
from flashneuron.export.backends import lowering_statistics
from flashneuron.export.disk import check_free_disk
from flashneuron.export.embedding import write_embedding
from flashneuron.export.ffn import write_ffn
from flashneuron.export.golden import GOLDEN, StoredModel, write_golden
from flashneuron.export.npu_attention import export_npu_attention, npu_recipe
from flashneuron.export.onnx import check_onnx, export_onnx, onnx_folder
from flashneuron.export.precision import measure_precision
from flashneuron.export.recipe import ExportRecipe, PartialPackage, refuse_existing
from flashneuron.export.source import Model, Source, open_source
from flashneuron.export.usage import TRACE, Usage, write_usage
from flashneuron.package.atomic import atomic_write
from flashneuron.package.layout import float_dtype
from flashneuron.package.manifest import MANIFEST, Package, file_entry, write_manifest
from flashneuron.package.records import records_folder, write_index
from flashneuron.package.schema import (
    AttentionFacts,
    EmbeddingFacts,
    FfnFacts,
    FileEntry,
    Manifest,
    ModelFacts,
    PredictorFacts,
    PredictorLayer,
    Role,
)
from flashneuron.predictor.settings import PredictorTable
from flashneuron.progress import Progress

TOKENIZER, STATISTICS, ONNX_PART, RECORDS_PART = "tokenizer.json", "statistics.json", "onnx", "etrecord"


def export_model(model_path: Path, output: Path, recipe: ExportRecipe, progress: Progress) -> Package:
    """Writes the package `output` of a model folder. Errors: as export_source, and InputError for the folder."""
    refuse_existing(output)
    return export_source(open_source(model_path, recipe), output, recipe, progress)


def export_source(source: Source, output: Path, recipe: ExportRecipe, progress: Progress) -> Package:
    """Writes the package `output`. Interrupted, it leaves `<output>.partial`, from which the same call goes on.

    Errors: InputError before any work; FlashneuronError when the disk fills up.
    """
    with disk_full_is_one_line(output):
        job = prepare(source, output, recipe, progress)
        folder = job.partial.folder
        source = source.with_thresholds(recipe, folder, progress)
        job = dataclasses.replace(job, source=source)
        model = job.model
        spec, weights = model.spec, model.weights
        embedding = write_embedding(spec, weights, folder, float_dtype(recipe.dtype), progress)
        cpu, npu = "xnnpack" in recipe.backends, npu_recipe(spec, recipe)
        chunk = min(recipe.max_chunk, spec.max_context)
        records = folder / RECORDS_PART if recipe.etrecord else None
        programs = [export_attention(spec, weights, folder, recipe.attention, chunk, progress, records)] if cpu else []
        if npu is not None:
            programs.append(export_npu_attention(spec, weights, source.sequences(), folder, npu, progress, records))
        table = source.predictors(folder / "predictor", progress)
        doubt_activation(spec, table, progress)
        if recipe.onnx:
            predictors = sorted((folder / "predictor").glob("*.pred"))
            taken, onnx = table.input if table else "ffn_input", folder / ONNX_PART
            export_onnx(spec, weights, source.sequences(), predictors, taken, recipe.attention, onnx, progress)
        usage = make_usage(job, recipe, progress)
        ffn = write_ffn(spec, weights, folder, recipe.dtype, recipe.layouts, progress, recipe.orders)
        ffn = ffn.model_copy(update={"frequency": usage.frequency or None})
        write_tokenizer(job)
        stored = StoredModel(spec, weights, folder, embedding, ffn, recipe.attention)
        write_golden(stored, model.tokenizer_json(), [entry["backend"] for entry in programs], progress)
        precision = measure_precision(stored, source.held_out(), progress)
        write_statistics(job, table, usage, programs, precision)
        return finish(job, embedding, programs, ffn, table, progress)


@dataclass(frozen=True)
class Job:
    """An export whose inputs were found sound."""

    source: Source
    partial: PartialPackage

    @property
    def model(self) -> Model:
        return self.source.model


def prepare(source: Source, output: Path, recipe: ExportRecipe, progress: Progress) -> Job:
    """What the source has not refused is refused here, before the partial folder is touched."""
    refuse_existing(output)
    if recipe.onnx:
        check_onnx(output)
    if recipe.etrecord:
        refuse_existing(records_folder(output))
    if "coactivation" in recipe.orders and recipe.predictor == "none":
        raise InputError("--order coactivation needs predictors, whose selections it goes by; use --predictor lowrank")
    if "xnnpack" in recipe.backends:
        check_attention(source.model.spec, recipe.attention)
    if "qnn" in recipe.backends or recipe.onnx:
        check_standard(source.model.spec)
    npu = npu_recipe(source.model.spec, recipe)
    if npu is not None and npu.dtype != "fp16" and not source.model.synthetic and not source.sequences():
        what = f"--attention {npu.dtype} with --backend qnn is calibrated on text, which --predictor none does not read"
        raise InputError(f"{what}; choose --predictor lowrank, or --attention fp16")
    partial = PartialPackage(output)
    check_free_disk(source.model.spec, recipe, partial.folder)
    if partial.begin(recipe, f"{flashneuron.__version__} {source.fingerprint()}"):
        progress.note(f"going on with {partial.folder}")
    return Job(source, partial)


def make_usage(job: Job, recipe: ExportRecipe, progress: Progress) -> Usage:
    """Frequencies and places; none if the source has no selections."""
    folder = job.partial.folder
    selections = job.source.selections(folder / "predictor")
    if selections is None:
        return Usage()
    ordered = recipe.layouts if "coactivation" in recipe.orders else ()
    return write_usage(selections, job.model.spec, ordered, folder, progress)


def write_tokenizer(job: Job) -> None:
    atomic_write(job.partial.folder / TOKENIZER, job.model.tokenizer_json())


def write_statistics(
    job: Job,
    table: PredictorTable | None,
    usage: Usage,
    programs: Sequence[Mapping[str, Any]],
    precision: dict[str, Any] | None,
) -> None:
    predictor = table.model_dump(mode="json") if table else None
    order = {"layers": list(usage.run_lengths)} if usage.run_lengths else None
    lowering = {entry["backend"]: lowering_statistics(job.partial.folder, entry) for entry in programs}
    found = {"predictor": predictor, "order": order, "attention": lowering, "precision": precision}
    statistics = found | job.source.statistics()
    atomic_write(job.partial.folder / STATISTICS, json.dumps(statistics, indent=1).encode())


def finish(
    job: Job,
    embedding: EmbeddingFacts,
    programs: Sequence[Mapping[str, Any]],
    ffn: FfnFacts,
    table: PredictorTable | None,
    progress: Progress,
) -> Package:
    """Hashes every file, writes the manifest, and renames the folder to its final name."""
    rows = [PredictorLayer(file=f"predictor/layer_{row.layer:03}.pred", rank=row.rank, density=row.calibration_density)
            for row in table.layers] if table else []  # fmt: skip
    predictors = (PredictorFacts(kind="lowrank", input=table.input, layers=tuple(rows)),) if table else ()
    roles: list[tuple[str, Role]] = [(embedding.file, "embedding")]
    attention = tuple(AttentionFacts.model_validate_json(json.dumps(entry)) for entry in programs)
    for entry in attention:
        roles += [(name, "attention") for name in dict.fromkeys(entry.layers)] + [(entry.head, "head")]
    roles += [(name, "ffn_bias") for name in ffn.bias] + [(name, "ffn_scales") for name in ffn.scales or ()]
    roles += [(name, "ffn_frequency") for name in ffn.frequency or ()]
    roles += [(name, "ffn_places") for name in (name for variant in ffn.variants for name in variant.places or ())]
    roles += [(name, "ffn") for name in _shards(ffn)]
    roles += [(row.file, "predictor") for row in rows]
    roles += [(TOKENIZER, "tokenizer"), (GOLDEN, "golden"), (STATISTICS, "statistics")]
    roles += [(TRACE, "trace")] if ffn.frequency else []
    folder = job.partial.folder
    manifest = Manifest(
        name=job.model.name,
        created_by=f"flashneuron {flashneuron.__version__}",
        synthetic=job.model.synthetic,
        model=_model_facts(job.model),
        embedding=embedding,
        attention=attention,
        ffn=ffn,
        predictors=predictors,
        chat=job.model.chat(),
        files=tuple(_hash_files(folder, roles, progress)),
    )
    if (folder / RECORDS_PART).is_dir():
        write_index(
            folder / RECORDS_PART, {entry.path: entry.sha256 for entry in manifest.files if entry.path.endswith(".pte")}
        )
    write_manifest(folder, manifest)
    if (folder / ONNX_PART).is_dir():
        (folder / ONNX_PART).rename(onnx_folder(job.partial.output))
    if (folder / RECORDS_PART).is_dir():
        (folder / RECORDS_PART).rename(records_folder(job.partial.output))
    job.partial.finish({MANIFEST, *(name for name, _ in roles)})
    return Package.open(job.partial.output)


def _hash_files(folder: Path, roles: list[tuple[str, Role]], progress: Progress) -> Iterator[FileEntry]:
    total = sum((folder / name).stat().st_size for name, _ in roles)
    with progress.step("hashes", total, "B") as advance:
        for name, role in roles:
            entry = file_entry(folder, name, role)
            advance(entry.bytes)
            yield entry


def _shards(ffn: FfnFacts) -> Iterator[str]:
    for variant in ffn.variants:
        for layer in variant.layers:
            for shards in layer.parts(variant.layout).values():
                yield from shards


def _model_facts(model: Model) -> ModelFacts:
    facts = dataclasses.asdict(model.spec)
    return ModelFacts(**{name: facts[name] for name in ModelFacts.model_fields if name in facts})


@contextmanager
def disk_full_is_one_line(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = f"the disk of {output.parent} is full; free some and run the same command again, it goes on"
            raise FlashneuronError(what) from None
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR):
            raise InputError(
                f"{error.filename}: {error.strerror}; choose an output folder that can be written"
            ) from None
        raise
