"""FFN weights as neuron records, one layer in memory at a time (FORMAT.md, "FFN shard")."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from flashneuron.export.rounding import UP_CLIPS, stored_rows
from flashneuron.export.usage import places_file
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.package.atomic import atomic_write
from flashneuron.package.ffn_file import FfnGeometry, Part, neurons_per_shard, write_shard
from flashneuron.package.layout import DType, row_scales
from flashneuron.package.neuron_lists import inverse, read_places
from flashneuron.package.schema import FfnFacts, FfnLayerFiles, FfnVariant, Layout, Order
from flashneuron.progress import Progress

Array = np.ndarray[Any, Any]


def write_ffn(
    spec: ModelSpec,
    weights: Weights,
    folder: Path,
    dtype: DType,
    layouts: Sequence[Layout],
    progress: Progress,
    orders: Sequence[Order] = ("none",),
) -> FfnFacts:
    """Writes every layer's shards, biases and scales; files that are there are kept.

    Precondition: places of an order other than none are written (usage.py).
    """
    facts = plan_ffn(spec, dtype, layouts, orders)
    with progress.step("FFN records", spec.layers, "layers") as advance:
        for layer in range(spec.layers):
            _write_layer(spec, weights, folder, facts, layer)
            advance(1)
    return facts


def plan_ffn(spec: ModelSpec, dtype: DType, layouts: Sequence[Layout], orders: Sequence[Order] = ("none",)) -> FfnFacts:
    """The files that there will be, but for frequencies."""
    variants = []
    for layout, order in itertools.product(layouts, orders):
        parts = layout_parts(layout, spec.gated)
        per_shard = neurons_per_shard(parts[0].rows(spec.gated), dtype, spec.hidden_size, spec.ffn_size)
        layers = []
        for layer in range(spec.layers):
            files = {
                part.name.lower(): tuple(
                    f"ffn/{layout}-{order}/layer_{layer:03}.{part.name.lower()}.{shard:04}.ffn"
                    for shard in range(geometry_of(spec, part, dtype, per_shard).shard_count)
                )
                for part in parts
            }
            layers.append(FfnLayerFiles(**files))
        places = None if order == "none" else tuple(places_file(layout, layer) for layer in range(spec.layers))
        variants.append(
            FfnVariant(layout=layout, order=order, neurons_per_shard=per_shard, layers=tuple(layers), places=places)
        )
    bias = tuple(f"ffn/layer_{layer:03}.bias" for layer in range(spec.layers))
    scales = tuple(f"ffn/layer_{layer:03}.scales" for layer in range(spec.layers))
    has_scales = row_scales(dtype, spec.hidden_size) > 0
    return FfnFacts(dtype=dtype, bias=bias, scales=scales if has_scales else None, variants=tuple(variants))


def layout_parts(layout: Layout, gated: bool) -> tuple[Part, ...]:
    """What a layer's files of a layout hold, in the order of a bundle's rows."""
    if layout == "bundled":
        return (Part.BUNDLE,)
    return (*((Part.GATE,) if gated else ()), Part.UP, Part.DOWN)


def geometry_of(spec: ModelSpec, part: Part, dtype: DType, per_shard: int) -> FfnGeometry:
    return FfnGeometry(part, dtype, spec.hidden_size, spec.ffn_size, per_shard, part.rows(spec.gated))


def _write_layer(spec: ModelSpec, weights: Weights, folder: Path, facts: FfnFacts, layer: int) -> None:
    name = f"layers.{layer}.ffn"
    bias = folder / facts.bias[layer]
    if not bias.exists():
        sizes = {f"{name}.up.bias": spec.ffn_size, f"{name}.down.bias": spec.hidden_size}
        biases = [weights[key].float().numpy() if key in weights else np.zeros(size) for key, size in sizes.items()]
        atomic_write(bias, np.concatenate(biases).astype("<f4").tobytes())
    missing = [
        (variant, geometry_of(spec, part, facts.dtype, variant.neurons_per_shard), number, path)
        for variant in facts.variants
        for part, shards in variant.layers[layer].parts(variant.layout).items()
        for number, path in enumerate(shards)
        if not (folder / path).exists()
    ]
    scales = folder / facts.scales[layer] if facts.scales else None
    if not missing and (scales is None or scales.exists()):
        return
    stored = {
        part: stored_rows(weights[f"{name}.{row}.weight"], facts.dtype, f"{name}.{row}.weight", UP_CLIPS)
        for part, row in ((Part.GATE, "gate"), (Part.UP, "up"))
        if part is not Part.GATE or spec.gated
    }
    stored[Part.DOWN] = stored_rows(weights[f"{name}.down.weight"].T, facts.dtype, f"{name}.down.weight")
    if scales is not None:
        atomic_write(scales, b"".join(rows.scales.tobytes() for rows in stored.values() if rows.scales is not None))
    matrices: dict[Part, tuple[Array, ...]] = {part: (rows.elements,) for part, rows in stored.items()}
    matrices[Part.BUNDLE] = tuple(rows.elements for rows in stored.values())
    for variant, geometry, number, path in missing:
        rows = partial(_records, matrices[geometry.part], neurons_by_place(folder, variant, layer))
        write_shard(folder / path, geometry, layer, number, rows)


def neurons_by_place(folder: Path, variant: FfnVariant, layer: int) -> Array | slice:
    """What to index a layer's neurons with to have them in the order in which they lie on flash."""
    return slice(None) if variant.places is None else inverse(read_places(folder / variant.places[layer]))


def _records(matrices: tuple[Array, ...], order: Array | slice, first: int, stop: int) -> Array:
    chosen = slice(first, stop) if isinstance(order, slice) else order[first:stop]
    return np.concatenate([matrix[chosen] for matrix in matrices], axis=1)
