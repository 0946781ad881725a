"""Which neurons calibration tokens use: frequencies for the hot set, and the order on flash (FORMAT.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flashneuron.export.coactivation import coactivation_order, newly_needed, run_length
from flashneuron.export.texts import Ids
from flashneuron.model.capture import Capture, chunks
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.package.atomic import atomic_write
from flashneuron.package.neuron_lists import write_frequency, write_places
from flashneuron.package.predictor_file import read_predictor
from flashneuron.package.schema import Layout
from flashneuron.predictor.lowrank import LowRank
from flashneuron.progress import Progress

MAX_TOKENS = 8192
MAX_CELLS = 2**27  # (token, neuron) pairs of a layer
MEASURED_SHARE = 0.25  # of the tokens: an order is measured on text that it was not made from
_RECORD = "usage.json"  # beside the lists until the package is whole: they are complete, and what was measured

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Usage:
    """Files of frequencies, and the statistics' `order`, one a layer; empty where nothing is known or asked for."""

    frequency: tuple[str, ...] = ()
    run_lengths: tuple[dict[str, float], ...] = ()


def places_file(layout: Layout, layer: int) -> str:
    """Where the places of a layer lie in the co-activation variant of `layout`."""
    return f"ffn/{layout}-coactivation/layer_{layer:03}.places"


def predicted_selections(
    spec: ModelSpec, weights: Weights, sequences: list[Ids], predictors: Path, work_dir: Path
) -> Iterator[Array]:
    """bool [tokens, F] of each layer in turn: what its predictor in the folder `predictors` selects with all
    predictors in force, for tokens from everywhere in `sequences`.
    """
    stored = [LowRank.from_file(read_predictor(predictors / f"layer_{i:03}.pred")) for i in range(spec.layers)]
    tokens = min(MAX_TOKENS, MAX_CELLS // spec.ffn_size)
    longest = max(len(ids) for ids in sequences)
    chosen = np.linspace(0, len(sequences) - 1, min(len(sequences), max(1, tokens // longest))).round().astype(int)
    capture = Capture(spec, weights, [sequences[i] for i in np.unique(chosen)], work_dir)
    for layer in capture.layers(lambda index, x: stored[index].to(x.device).selects(x)):
        predictor, device = stored[layer.index].to(layer.ffn.up.device), layer.ffn.up.device
        rows = [predictor.selects(x).cpu().numpy() for x in chunks(layer.ffn_input, spec.ffn_size, device)]
        yield np.concatenate(rows)


def write_usage(
    selections: Iterator[Array], layers: int, ordered: Sequence[Layout], folder: Path, progress: Progress
) -> Usage:
    """Writes what `selections`, one a layer, tell: frequencies, and places for each layout that is to be `ordered`.
    Kept if an earlier call has finished.
    """
    record = folder / "ffn" / _RECORD
    frequency = tuple(f"ffn/layer_{layer:03}.frequency" for layer in range(layers))
    if record.exists():
        return Usage(frequency, tuple(json.loads(record.read_bytes())))
    measured = []
    with progress.step("neuron usage", layers, "layers") as advance:
        for layer, selected in enumerate(selections):
            write_frequency(folder / frequency[layer], selected.mean(axis=0))
            if ordered:
                places, lengths = order_and_measure(selected)
                for layout in ordered:
                    write_places(folder / places_file(layout, layer), places)
                measured.append(lengths)
            advance(1)
    atomic_write(record, json.dumps(measured).encode())
    return Usage(frequency, tuple(measured))


def order_and_measure(selected: Array) -> tuple[Array, dict[str, float]]:
    """Places from the first tokens of bool [tokens, F], and run lengths on the others (FORMAT.md, statistics.json)."""
    cut = len(selected) - max(1, round(len(selected) * MEASURED_SHARE))
    places = coactivation_order(selected[:cut])
    rest = newly_needed(selected[cut:])
    return places, {"run_length_before": run_length(rest), "run_length_after": run_length(rest, places)}
