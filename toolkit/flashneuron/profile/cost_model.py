"""What a decoded token will cost: reads by the flash curve, computing by rates, and how much of both overlaps. Pure.

A token's time is the sum over layers of attention, prediction, FFN, cache management and stalls, then the head. A layer
hands its reads on demand to the workers, then the early ones of the next layer, which queue behind them. It waits for
the first but for what the FFN of cached neurons hides; the next layer waits for the early ones but for all that ran in
between. Reads slow down what is computed beside them, as the probe has measured, and after a wait. No token is faster
than the device can read its bytes steadily.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from flashneuron.profile.read_costs import BurstCost, ReadCosts

PROBE_THREADS = 4  # that the probe computes with, if there are as many cores
# What a layer's attention takes longer after a wait, when caches hold other things and threads have to wake: a share of
# it, and no more than so many µs, little beside a large model's layer. Fitted on one machine (x86-64, 2 cores).
_COLD_SHARE, _COLD_MOST_US = 1.5, 150.0
_ROUNDS_AT_ONCE = 2  # of reads on demand, with overlap


@dataclass(frozen=True)
class Reads:
    """Mean per token. A round is submitted at once; `longest_bytes` is its longest read."""

    rounds: float
    requests: float
    bytes_read: float
    longest_bytes: float

    @property
    def mean_bytes(self) -> float:
        return self.bytes_read / self.requests


NO_READS = Reads(0, 0, 0, 0)


@dataclass(frozen=True)
class LayerReads:
    """Of one layer. `early` ones are asked for one layer before."""

    demand: Reads
    early: Reads


@dataclass(frozen=True)
class ComputeTimes:
    """µs per token of all layers together, as a run's counters part them; on `threads` cores."""

    attention_us: float
    predictor_us: float
    ffn_us: float
    memory_us: float
    head_us: float
    other_us: float
    threads: int

    @property
    def total_us(self) -> float:
        return float(sum(getattr(self, field.name) for field in fields(self) if field.name != "threads"))


@dataclass(frozen=True)
class Platform:
    """What a token runs on."""

    costs: ReadCosts
    io_threads: int
    cores: int


@dataclass(frozen=True)
class TokenCost:
    """µs per token, means. wall = compute + stall + given."""

    wall_us: float
    compute_us: float
    stall_us: float
    given_us: float  # what reads took from computing: beside them, and after a wait
    io_us: float

    @property
    def tokens_per_s(self) -> float:
        return 1e6 / self.wall_us


def token_cost(
    embedding: Reads, layers: Sequence[LayerReads], compute: ComputeTimes, platform: Platform, overlap: bool
) -> TokenCost:
    """`embedding`: what a token reads before layer 0. Precondition: at least one layer."""
    count = len(layers)
    ffn = compute.ffn_us / count
    hidden = ffn / 2 if overlap else 0.0
    between = (compute.attention_us + compute.predictor_us / 2) / count + ffn / 2 if overlap else 0.0
    busy = min(1.0, compute.threads / min(PROBE_THREADS, platform.cores))
    at_once = _ROUNDS_AT_ONCE if overlap else 1
    io = stall = _cost(embedding, platform, 1).wall
    cold = min(_COLD_MOST_US, _COLD_SHARE * compute.attention_us / count)
    given = cold * min(1.0, embedding.rounds)
    for layer, following in pairwise((*layers, LayerReads(NO_READS, NO_READS))):
        demand = _cost(layer.demand, platform, at_once)
        early = _behind(following.early, layer.demand, demand, platform, at_once)
        late, demand_lost = _beside(demand, hidden, busy)
        later, early_lost = _beside(early, between + max(0.0, hidden - demand.wall), busy)
        io += demand.wall + early.wall
        stall += late + later
        waits = layer.demand.rounds * _share(late, demand.wall) + following.early.rounds * _share(later, early.wall)
        given += demand_lost + early_lost + cold * min(1.0, waits)
    steady = sum(_steady_us(reads, platform) for layer in layers for reads in (layer.demand, layer.early))
    stall += max(0.0, steady + _steady_us(embedding, platform) - compute.total_us - stall - given)
    return TokenCost(compute.total_us + stall + given, compute.total_us, stall, given, max(io, steady))


def _beside(cost: BurstCost, computing_us: float, busy: float) -> tuple[float, float]:
    """(what is waited for of a burst with so much to compute beside it, what computing loses) in µs. Computing loses
    evenly while the burst lasts, and hides more of it the longer that makes it.
    """
    lost = busy * cost.lost
    if cost.wall <= 0:
        return 0.0, 0.0
    lasts = computing_us + lost
    if lasts < cost.wall:  # then lost < wall: it is as long as it has computed and lost in proportion
        lasts = computing_us / (1 - lost / cost.wall)
    return max(0.0, cost.wall - lasts), lost * min(1.0, lasts / cost.wall)


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _cost(reads: Reads, platform: Platform, most_at_once: int) -> BurstCost:
    """Of reads whose rounds are in flight `most_at_once` at a time."""
    if reads.requests <= 0:
        return BurstCost(0.0, 0.0)
    at_once = min(float(most_at_once), max(1.0, reads.rounds))
    count, times = reads.requests / reads.rounds * at_once, reads.rounds / at_once
    wall, lost = platform.costs.burst(count, reads.mean_bytes, reads.longest_bytes, platform.io_threads)
    return BurstCost(times * wall, times * lost)


def _behind(reads: Reads, ahead: Reads, ahead_cost: BurstCost, platform: Platform, at_once: int) -> BurstCost:
    """Of a round that queues behind others: its wall time is what it takes beyond theirs."""
    alone = _cost(reads, platform, 1)
    if reads.requests <= 0 or ahead.requests <= 0:
        return alone
    both = Reads(
        rounds=max(ahead.rounds, reads.rounds),
        requests=ahead.requests + reads.requests,
        bytes_read=ahead.bytes_read + reads.bytes_read,
        longest_bytes=max(ahead.longest_bytes, reads.longest_bytes),
    )
    beyond = _cost(both, platform, at_once).wall - ahead_cost.wall
    return alone._replace(wall=min(alone.wall, max(0.0, beyond)))


def _steady_us(reads: Reads, platform: Platform) -> float:
    return reads.requests * platform.costs.steady_us(reads.mean_bytes, platform.io_threads) if reads.requests else 0.0


def as_json(cost: TokenCost) -> dict[str, Any]:
    return {field.name: getattr(cost, field.name) for field in fields(cost)}
