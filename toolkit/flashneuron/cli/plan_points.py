"""What `flashneuron plan` predicts: a package that lies here, or a trace of a model that does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from flashneuron.errors import InputError
from flashneuron.package.layout import DType
from flashneuron.package.manifest import Package
from flashneuron.profile.budgets import spread_budgets
from flashneuron.profile.experiment import grid
from flashneuron.profile.plan import Prediction, Target, budget_of, predict, require_trace
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.simulate import LEFT_OUT, all_rows_bytes, simulation
from flashneuron.profile.target import local_place, local_runner

TOKENS = 384  # prompt and new ones, the paper's 128 + 256
SHARES = (0.1, 0.25, 0.5, 1.0)  # of all neurons: a simulation's budgets


@dataclass(frozen=True)
class Planned:
    points: Sequence[RunSettings]
    predict_one: Callable[[RunSettings], Prediction]
    simulated: str | None = None


def of_package(folder: Path, lists: Mapping[str, Sequence[str]], tokens: int | None, target: Target) -> Planned:
    package = Package.open(folder)
    require_trace(package)
    runner, (place, identity) = local_runner(), local_place(package)
    context = min(tokens or TOKENS, package.manifest.model.max_context)
    points = [replace(point, context=context) for point in _grid(lists)]
    if "ram" not in lists:
        budgets = {point: spread_budgets(budget_of(runner, place, point)) for point in points}
        points = [replace(point, ram=size) for point in points for size in budgets[point]]
    return Planned(points, partial(predict, package, identity, runner, place, target))


def of_trace(
    path: Path, lists: Mapping[str, Sequence[str]], hidden_size: int | None, dtype: DType, gated: bool, target: Target
) -> Planned:
    if hidden_size is None:
        raise InputError("--replay needs --hidden-size, which a trace does not tell")
    trace, predict_one = simulation(path, hidden_size, dtype, local_runner(), target, gated)
    points = _grid(lists)
    if "ram" not in lists:
        whole = all_rows_bytes(trace, hidden_size, dtype, gated)
        points = [replace(point, ram=max(1, int(share * whole))) for point in points for share in SHARES]
    neurons = f"{trace.ffn_size} {'gated ' if gated else ''}neurons"
    what = f"{trace.layers} layers of {neurons}, hidden size {hidden_size}, {dtype}"
    return Planned(points, predict_one, f"{what}, by the trace {path}; {LEFT_OUT}")


def _grid(lists: Mapping[str, Sequence[str]]) -> list[RunSettings]:
    return [point.settings for point in grid({"window": ["auto", "4"], **lists}, RunSettings())]
