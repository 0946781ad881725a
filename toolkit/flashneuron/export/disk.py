"""Is there room for an export? Asked before the first byte is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from flashneuron.errors import InputError
from flashneuron.export.attention import program_bytes
from flashneuron.export.ffn import geometry_of, layout_parts, plan_ffn
from flashneuron.export.npu_attention import npu_bytes
from flashneuron.export.recipe import ExportRecipe
from flashneuron.model.spec import ModelSpec
from flashneuron.package.layout import bias_bytes, element_bytes, float_dtype, predictor_dtype, scales_bytes
from flashneuron.package.predictor_file import predictor_bytes
from flashneuron.package.trace_file import trace_bytes
from flashneuron.units import format_bytes

_OTHER_BYTES = 16 << 20  # tokenizer, golden, statistics, manifest, file system


def estimate_bytes(spec: ModelSpec, recipe: ExportRecipe) -> int:
    """Size of the package; without a given rank, predictors are taken to have an eighth of hidden_size."""
    d, ffn, size = spec.hidden_size, spec.ffn_size, element_bytes(float_dtype(recipe.dtype))
    total = _OTHER_BYTES + (spec.vocab_size + spec.position_rows) * d * size
    total += spec.layers * (bias_bytes(d, ffn) + scales_bytes(recipe.dtype, d, ffn, spec.gated))
    total += program_bytes(spec, recipe.attention) if "xnnpack" in recipe.backends else 0
    total += npu_bytes(spec, recipe)
    for variant in plan_ffn(spec, recipe.dtype, recipe.layouts, recipe.orders).variants:
        for part in layout_parts(variant.layout, spec.gated):
            geometry = geometry_of(spec, part, recipe.dtype, variant.neurons_per_shard)
            total += spec.layers * sum(geometry.shard_bytes(shard) for shard in range(geometry.shard_count))
    if recipe.predictor == "lowrank":
        total += spec.layers * predictor_bytes(d, ffn, recipe.rank or max(1, d // 8), predictor_dtype(recipe.dtype))
        total += trace_bytes(spec.layers, ffn)
    return total


def check_free_disk(spec: ModelSpec, recipe: ExportRecipe, partial: Path) -> None:
    """What an interrupted export left in `partial` counts as room. Errors: InputError with needed and free bytes."""
    folder = partial.parent
    while not folder.exists():
        folder = folder.parent
    there = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file()) if partial.is_dir() else 0
    needed, free = estimate_bytes(spec, recipe), shutil.disk_usage(folder).free + there
    if needed > free:
        what = f"the package needs about {format_bytes(needed)}, {folder} has {format_bytes(free)} free"
        raise InputError(f"{what}; free some or choose another output folder")
