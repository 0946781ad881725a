"""What a package will cost on a device, before it is pushed there: each point's reads by a replay of the package's
activation trace through the runner's own cache code, on this machine; their time by the device's flash curve; computing
by rates (rates.py, cost_model.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from flashneuron.errors import InputError, RunnerError
from flashneuron.package.layout import round_up, row_bytes
from flashneuron.package.manifest import Package
from flashneuron.profile.cost_model import NO_READS, LayerReads, Platform, Reads, TokenCost, token_cost
from flashneuron.profile.flash_curve import FlashCurve
from flashneuron.profile.rates import Basis, DeviceRates, Work, compute_times, settings_key, work_of
from flashneuron.profile.read_costs import ReadCosts
from flashneuron.profile.run_file import Budget
from flashneuron.profile.session import EventSource, one_event
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.tuning import tuned

CLOSE = 1.02  # a budget that is so much slower than the fastest, and smaller, is recommended
_MOST_THREADS = 4  # the runner's, where nothing is asked


class ReplayedLayer(BaseModel):
    """Sums over tokens (PROTOCOL.md, `replay`)."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    cache_rows: int
    selected: int
    hits: int
    misses: int
    rounds: int
    longest_bytes: int
    early_rounds: int
    early_longest_bytes: int
    requests: int
    bytes_read: int
    early_requests: int
    early_bytes_read: int


class Replayed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    settings: dict[str, Any]
    block_bytes: int
    tokens: int
    layers: list[ReplayedLayer]
    budget: Budget | None = None

    def mean(self, name: str) -> float:
        """Per token, of all layers together."""
        return float(sum(getattr(layer, name) for layer in self.layers)) / self.tokens

    @property
    def hit_rate(self) -> float:
        return sum(layer.hits for layer in self.layers) / max(1, sum(layer.selected for layer in self.layers))

    def reads(self) -> list[LayerReads]:
        return [
            LayerReads(
                demand=Reads(
                    rounds=layer.rounds / self.tokens,
                    requests=(layer.requests - layer.early_requests) / self.tokens,
                    bytes_read=(layer.bytes_read - layer.early_bytes_read) / self.tokens,
                    longest_bytes=layer.longest_bytes / max(1, layer.rounds),
                ),
                early=Reads(
                    rounds=layer.early_rounds / self.tokens,
                    requests=layer.early_requests / self.tokens,
                    bytes_read=layer.early_bytes_read / self.tokens,
                    longest_bytes=layer.early_longest_bytes / max(1, layer.early_rounds),
                ),
            )
            for layer in self.layers
        ]


@dataclass(frozen=True)
class Target:
    """A device, as far as a plan needs it; it may not be here."""

    name: str
    curve: FlashCurve
    rates: DeviceRates
    cores: int


@dataclass(frozen=True)
class Prediction:
    """Of one point. `settings` are those in force, as texts."""

    asked: RunSettings
    settings: Mapping[str, Any]
    budget: Budget | None
    replayed: Replayed
    embedding: Reads  # what a token reads before layer 0
    cost: TokenCost
    basis: Basis

    @property
    def requests(self) -> float:
        """Per token."""
        return self.replayed.mean("requests") + self.embedding.requests

    @property
    def bytes_read(self) -> float:
        """Per token."""
        return self.replayed.mean("bytes_read") + self.embedding.bytes_read


@dataclass(frozen=True)
class Refusal:
    """A point whose budget is below what the package needs."""

    asked: RunSettings
    why: str
    budget: Budget | None


@dataclass(frozen=True)
class Plan:
    """`recommended` is one of `predictions`."""

    predictions: Sequence[Prediction]
    refusals: Sequence[Refusal]
    recommended: Prediction


def make_plan(points: Sequence[RunSettings], predict_one: Callable[[RunSettings], Prediction]) -> Plan:
    """Raises RunnerError, with the table of what needs how much, if no point fits."""
    predictions, refusals = list[Prediction](), list[Refusal]()
    last: RunnerError | None = None
    for point in points:
        try:
            predictions.append(predict_one(point))
        except RunnerError as error:
            if error.code != "budget_too_small":
                raise
            refusals.append(Refusal(point, str(error), _budget(error.detail)))
            last = error
    if not predictions:
        assert last is not None
        raise last
    return Plan(predictions, refusals, recommend(predictions))


def recommend(predictions: Sequence[Prediction]) -> Prediction:
    return predictions[preferred([(each.cost.wall_us, _ram(each), each.asked.window) for each in predictions])]


def preferred(candidates: Sequence[tuple[float, int, int | str | None]]) -> int:
    """Of (predicted time, budget, window asked for) the fastest one's index; of those that are as fast the one with the
    smallest budget, an open window before a fixed one.
    """
    close = CLOSE * min(wall for wall, _, _ in candidates)
    ranks = [(wall > close, ram, window not in (None, "auto"), wall) for wall, ram, window in candidates]
    return ranks.index(min(ranks))


def predict(
    package: Package, identity: str, runner: EventSource, place: Mapping[str, str], target: Target, point: RunSettings
) -> Prediction:
    """`place`: the runner's keys that say where the package lies. `identity`: SHA-256 of its manifest."""
    settings = with_threads(tuned(point, target.curve, package.manifest), target)
    replayed = replay(runner, {**place, **settings.of_runtime().to_keys(), "block": str(target.curve.block_bytes)})
    force = replayed.settings
    work = work_of(
        package,
        str(force.get("backend")),
        force.get("predictor") == "lowrank",
        force.get("overlap") == "on",
        replayed.mean("selected"),
        replayed.mean("misses"),
    )
    return priced(point, replayed, embedding_reads(package, replayed), work, identity, target)


def embedding_reads(package: Package, replayed: Replayed) -> Reads:
    """A token's row and, where positions are learned, its position's, unless the table is in DRAM."""
    facts, model = package.manifest.embedding, package.manifest.model
    if replayed.budget is None or any(r.role == "embedding" and r.bytes for r in replayed.budget.roles):
        return NO_READS
    row, block = row_bytes(facts.dtype, model.hidden_size), replayed.block_bytes
    whole = round_up(row, block) if row % block == 0 or block % row == 0 else row + block  # on average, about
    rows = 2 if facts.position_rows else 1
    return Reads(rounds=1, requests=rows, bytes_read=rows * whole, longest_bytes=whole)


def with_threads(settings: RunSettings, target: Target) -> RunSettings:
    """The device's, not this machine's."""
    return replace(settings, threads=settings.threads or min(_MOST_THREADS, target.cores))


def priced(
    point: RunSettings, replayed: Replayed, embedding: Reads, work: Work, identity: str, target: Target
) -> Prediction:
    """What reads and computing cost on the device."""
    force, curve = replayed.settings, target.curve
    threads, overlap = int(force["threads"]), force.get("overlap") == "on"
    key = settings_key(force)
    compute, basis = compute_times(target.rates, identity, key, work, threads, curve.dram_bytes_per_s)
    platform = Platform(ReadCosts(curve.points, curve.bursts), int(force["io_threads"]), target.cores)
    cost = token_cost(embedding, replayed.reads(), compute, platform, overlap)
    return Prediction(point, force, replayed.budget, replayed, embedding, cost, basis)


def budget_of(runner: EventSource, place: Mapping[str, str], settings: RunSettings) -> Budget:
    return one_event(runner.events("budget", {**place, **settings.of_runtime().to_keys()}), "budget", Budget)


def replay(runner: EventSource, keys: Mapping[str, str]) -> Replayed:
    return one_event(runner.events("replay", keys), "replay", Replayed)


def require_trace(package: Package) -> None:
    if not package.with_role("trace"):
        what = f"package {package.manifest.name} has no activation trace, by which reads are predicted"
        raise InputError(f"{what}; export it again with --predictor lowrank")


def _budget(detail: Mapping[str, Any] | None) -> Budget | None:
    try:
        return Budget.model_validate(detail)
    except ValidationError:
        return None


def _ram(each: Prediction) -> int:
    if each.budget is None:
        return each.asked.ram or 0
    return each.budget.ram_bytes or each.budget.all_resident_bytes
