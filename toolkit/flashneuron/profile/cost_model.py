"""What a decoded token will cost: reads by the flash curve, computing by rates, and how much of both overlaps. Pure.

A token's time is the sum over layers of attention, prediction, FFN, cache management and stalls, then the head. Of a
layer's reads, those on demand are waited for but for what the FFN of cached neurons hides; early ones have been in
flight since the layer before was summed, so all that ran in between hides them. A layer's reads are a burst: a short
one is over before more workers are awake than there are cores, and only a long one has all of them at work. Every read
costs processor time (`cpu_us` of the flash curve), of which compute threads give a share where they have all cores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from flashneuron.profile.flash_curve import CurvePoint

_START_US = 20.0  # of a burst of reads: to hand it to the workers and wake up after it
_READS_TO_WAKE = 8.0  # in a burst, for each worker that is awake beyond one a core: fitted, as the next is
_GIVEN = 0.4  # of the processor time of reads, by compute threads that have every core: fitted on a machine of 2


@dataclass(frozen=True)
class LayerReads:
    """Of one layer, mean per token. `early` ones were asked for one layer before."""

    demand_requests: float
    demand_bytes: float
    early_requests: float
    early_bytes: float


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
class TokenCost:
    """µs per token. wall = compute + stall + given."""

    wall_us: float
    compute_us: float
    stall_us: float
    given_us: float  # processor time that reads took from computing
    io_us: float

    @property
    def tokens_per_s(self) -> float:
        return 1e6 / self.wall_us


def token_cost(
    layers: Sequence[LayerReads],
    compute: ComputeTimes,
    points: Sequence[CurvePoint],
    io_threads: int,
    overlap: bool,
    cores: int,
) -> TokenCost:
    """Preconditions: at least one layer and one point."""
    count = len(layers)
    between_us = (compute.attention_us + compute.ffn_us + compute.predictor_us / 2) / count
    stall = io = cpu = 0.0
    for layer in layers:
        demand, demand_cpu = read_cost(points, layer.demand_requests, layer.demand_bytes, io_threads, cores)
        early, early_cpu = read_cost(points, layer.early_requests, layer.early_bytes, io_threads, cores)
        io += demand + early
        cpu += demand_cpu + early_cpu
        hidden = (between_us, 0.5 * compute.ffn_us / count) if overlap else (0.0, 0.0)
        stall += max(0.0, early - hidden[0]) + max(0.0, demand - hidden[1])
    total, taken = compute.total_us, min(1.0, max(0.0, (2 * compute.threads - cores) / compute.threads))
    given = _GIVEN * taken * cpu
    return TokenCost(total + stall + given, total, stall, given, io)


def read_cost(
    points: Sequence[CurvePoint], requests: float, read_bytes: float, threads: int, cores: int
) -> tuple[float, float]:
    """(wall µs, processor µs) of a burst of reads, `read_bytes` together; of less than one read, its share."""
    if requests < 1e-6:
        return 0.0, 0.0
    in_flight = min(float(threads), max(1.0, min(float(cores), requests), requests / _READS_TO_WAKE))
    size = read_bytes / requests
    wall, cpu = (at(points, size, in_flight, name) for name in ("us_per_read", "cpu_us_per_read"))
    return requests * wall + min(1.0, requests) * _START_US, requests * cpu


def at(points: Sequence[CurvePoint], size: float, threads: float, name: str) -> float:
    """A value of the curve, by powers between the nearest sizes and thread counts that were measured; beyond the
    largest size in proportion to it.
    """
    found = {(point.read_bytes, point.threads): float(getattr(point, name)) for point in points}
    counts = sorted({threads for _, threads in found})
    low, high, share = _between([float(count) for count in counts], threads)
    values = []
    for count in (low, high):
        at_count = {float(bytes_): value for (bytes_, number), value in found.items() if number == count}
        sizes = sorted(at_count)
        if size > sizes[-1]:
            values.append(at_count[sizes[-1]] * size / sizes[-1])
            continue
        below, above, part = _between(sizes, size)
        values.append(_power_mean(at_count[below], at_count[above], part))
    return _power_mean(values[0], values[1], share)


def _between(steps: Sequence[float], value: float) -> tuple[float, float, float]:
    """The neighbours of `value` among ascending steps, and where it lies between them, by powers; clamped."""
    value = min(max(value, steps[0]), steps[-1])
    above = next(step for step in steps if step >= value)
    below = max(step for step in steps if step <= value)
    return below, above, 0.0 if above == below else math.log(value / below) / math.log(above / below)


def _power_mean(low: float, high: float, share: float) -> float:
    if low <= 0 or high <= 0:
        return (1 - share) * low + share * high
    return math.exp((1 - share) * math.log(low) + share * math.log(high))


def as_json(cost: TokenCost) -> dict[str, Any]:
    return {field.name: getattr(cost, field.name) for field in fields(cost)}
