"""A plan for a model that is not here: its activation trace and the size of its neurons are enough for its reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flashneuron.errors import InputError
from flashneuron.package.ffn_file import RECORD_ALIGNMENT
from flashneuron.package.layout import DType, bundle_rows, round_up, row_bytes
from flashneuron.package.trace_file import Trace, read_trace
from flashneuron.profile.cost_model import NO_READS
from flashneuron.profile.plan import Prediction, Target, priced, replay, with_threads
from flashneuron.profile.rates import Work
from flashneuron.profile.session import EventSource
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.tuning import tuned_for

LEFT_OUT = "head, predictors and everything else in DRAM are left out; ram is what the neurons get"


def simulation(
    path: Path, hidden_size: int, dtype: DType, runner: EventSource, target: Target, gated: bool = False
) -> tuple[Trace, Callable[[RunSettings], Prediction]]:
    """The trace, and what predicts a point with it. Attention is taken to have four matrices of hidden_size² elements
    of `dtype` a layer. Errors: PackageError (the trace), InputError (a point without a budget).
    """
    trace, record = read_trace(path), bundle_rows(gated) * row_bytes(dtype, hidden_size)

    def predict_one(point: RunSettings) -> Prediction:
        if point.ram is None:
            raise InputError("a simulation needs --ram: what the neurons of all layers get")
        settings = with_threads(tuned_for(point, target.curve, record), target)
        keys = {
            name: value for name, value in settings.of_runtime().to_keys().items() if name not in ("ram", "context")
        }
        keys |= {
            "activations": str(path.absolute()),
            "record_bytes": str(record),
            "block": str(target.curve.block_bytes),
        }
        keys["rows"] = str(point.ram // round_up(record, RECORD_ALIGNMENT))
        replayed = replay(runner, keys)
        work = Work(
            layers=trace.layers,
            attention=trace.layers * 4 * hidden_size * row_bytes(dtype, hidden_size),
            head=0,
            predictor=0,
            ffn=replayed.mean("selected") * record,
            inserted=replayed.mean("misses") * record,
        )
        return priced(point, replayed, NO_READS, work, "", target)

    return trace, predict_one


def all_rows_bytes(trace: Trace, hidden_size: int, dtype: DType, gated: bool) -> int:
    """What every neuron takes in DRAM."""
    record = bundle_rows(gated) * row_bytes(dtype, hidden_size)
    return trace.layers * trace.ffn_size * round_up(record, RECORD_ALIGNMENT)
