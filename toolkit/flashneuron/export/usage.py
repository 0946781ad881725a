"""Which neurons calibration tokens use: frequencies for the hot set, the order on flash, a trace (FORMAT.md)."""

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
from flashneuron.package.layout import BEFORE_ATTENTION, PredictorInput
from flashneuron.package.neuron_lists import write_frequency, write_places
from flashneuron.package.predictor_file import read_predictor
from flashneuron.package.schema import Layout
from flashneuron.package.trace_file import writing_trace
from flashneuron.predictor.lowrank import LowRank
from flashneuron.progress import Progress

MAX_TOKENS = 8192
MAX_CELLS = 2**27  # (token, neuron) pairs of a layer
MEASURED_SHARE = 0.25  # of the tokens: an order is measured on text that it was not made from
TRACE = "trace.bin"
_RECORD = "usage.json"  # beside the lists until the package is whole: they are complete, and what was measured

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Selections:
    """bool [tokens, F] each: what a layer's predictor selects, and by what the runtime reads early: the same where that
    is known before attention, else what it selects of the previous layer's input; all False in layer 0.
    """

    selected: Array
    expected: Array


@dataclass(frozen=True)
class Usage:
    """Files of frequencies, and the statistics' `order`, one a layer; empty where nothing is known or asked for."""

    frequency: tuple[str, ...] = ()
    run_lengths: tuple[dict[str, float], ...] = ()


def places_file(layout: Layout, layer: int) -> str:
    """Where the places of a layer lie in the co-activation variant of `layout`."""
    return f"ffn/{layout}-coactivation/layer_{layer:03}.places"


def predicted_selections(
    spec: ModelSpec, weights: Weights, sequences: list[Ids], predictors: Path, work_dir: Path, taken: PredictorInput
) -> Iterator[Selections]:
    """Of each layer in turn, by its predictor in the folder `predictors`, which takes `taken`, with all predictors in
    force, for tokens from everywhere in `sequences`.
    """
    stored = [LowRank.from_file(read_predictor(predictors / f"layer_{i:03}.pred")) for i in range(spec.layers)]
    tokens = min(MAX_TOKENS, MAX_CELLS // spec.ffn_size)
    longest = max(len(ids) for ids in sequences)
    chosen = np.linspace(0, len(sequences) - 1, min(len(sequences), max(1, tokens // longest))).round().astype(int)
    capture = Capture(spec, weights, [sequences[i] for i in np.unique(chosen)], work_dir, taken)
    expected: Array | None = None
    for layer in capture.layers(lambda index, x: stored[index].to(x.device).selects(x)):
        device, following = layer.ffn.device, stored[min(layer.index + 1, spec.layers - 1)]
        seen = layer.predictor_input
        both = [
            np.concatenate([predictor.selects(x).cpu().numpy() for x in chunks(seen, spec.ffn_size, device)])
            for predictor in (stored[layer.index].to(device), following.to(device))
        ]
        if taken in BEFORE_ATTENTION:
            expected = both[0]
        yield Selections(both[0], np.zeros_like(both[0]) if expected is None else expected)
        expected = both[1]


def write_usage(
    selections: Iterator[Selections], spec: ModelSpec, ordered: Sequence[Layout], folder: Path, progress: Progress
) -> Usage:
    """Writes what `selections`, one a layer, tell: frequencies, a trace of the last tokens, and places for each layout
    that is to be `ordered`. Kept if an earlier call has finished.
    """
    record = folder / "ffn" / _RECORD
    frequency = tuple(f"ffn/layer_{layer:03}.frequency" for layer in range(spec.layers))
    if record.exists():
        return Usage(frequency, tuple(json.loads(record.read_bytes())))
    measured = []
    with (
        progress.step("neuron usage", spec.layers, "layers") as advance,
        writing_trace(folder / TRACE, spec.layers, spec.ffn_size) as trace,
    ):
        for layer, found in enumerate(selections):
            selected = found.selected
            trace.add(selected, found.expected)
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
