"""What reads cost on a device, between the points that its probe measured. Pure.

Two kinds of reading. A burst is what a decode loop makes: reads that are handed over at once after a pause, and
awaited; waking workers and the latency of flash weigh most. Steadily, with a queue that never runs dry, each read costs
a part of the whole: a device that holds its rate on average only (a throttled one) shows that here, not in bursts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from flashneuron.profile.flash_curve import BurstPoint, CurvePoint

Table = Mapping[tuple[float, ...], float]


class BurstCost(NamedTuple):
    """µs: of a burst that is waited for, and what computing loses that goes on meanwhile."""

    wall: float
    lost: float


class ReadCosts:
    """Preconditions: at least one point and one burst; every combination of what was measured is there, but for steady
    reads of the largest sizes by many threads.
    """

    def __init__(self, points: Sequence[CurvePoint], bursts: Sequence[BurstPoint]) -> None:
        self._points, self._measured = points, bursts

    def steady_us(self, read_bytes: float, threads: float) -> float:
        """Wall time by which each read lengthens the whole, `threads` in flight."""
        return _at_size(self._steady, read_bytes, threads)

    def burst(self, reads: float, mean_bytes: float, longest_bytes: float, threads: float) -> BurstCost:
        """Of `reads` reads handed to `threads` workers at once; of less than one read, its share."""
        if reads < 1e-6 or mean_bytes <= 0:
            return BurstCost(0.0, 0.0)
        count, size = min(max(1.0, reads), self._most_reads), min(mean_bytes, self._largest)
        wall, lost = (_between(table, (threads, size, count)) for table in self._bursts)
        # Beyond what was measured, what a read costs steadily is added; what it takes from computing, in proportion.
        in_flight = min(threads, max(1.0, reads))
        wall += count * max(0.0, self.steady_us(mean_bytes, in_flight) - self.steady_us(size, in_flight))
        wall += max(0.0, reads - count) * self.steady_us(mean_bytes, threads)
        lost *= max(1.0, reads / count)
        # The longest read is on its way when the others have ended.
        wall += max(0.0, self.steady_us(longest_bytes, 1) - self.steady_us(mean_bytes, 1)) if reads > 1 else 0.0
        share = min(1.0, reads)
        return BurstCost(share * wall, share * lost)

    @cached_property
    def _steady(self) -> Table:
        return {(float(p.threads), float(p.read_bytes)): p.us_per_read for p in self._points}

    @cached_property
    def _bursts(self) -> tuple[Table, Table]:
        keys = [(float(b.threads), float(b.read_bytes), float(b.reads)) for b in self._measured]

        def table(name: str) -> Table:
            return {key: float(getattr(burst, name)) for key, burst in zip(keys, self._measured, strict=True)}

        return table("wall_us"), table("lost_us")

    @cached_property
    def _most_reads(self) -> float:
        return max(float(burst.reads) for burst in self._measured)

    @cached_property
    def _largest(self) -> float:
        return max(float(burst.read_bytes) for burst in self._measured)


def _at_size(table: Table, size: float, threads: float) -> float:
    """At a number of threads of which the largest sizes may be missing: there, in proportion to the bytes."""
    counts = sorted({key[0] for key in table})
    low, high, share = _neighbours(counts, threads)
    values = []
    for count in (low, high):
        largest = max(bytes_ for number, bytes_ in table if number == count)
        values.append(_between(table, (count, min(size, largest))) * max(1.0, size / largest))
    return _power_mean(values[0], values[1], share)


def _between(table: Table, key: tuple[float, ...]) -> float:
    """By powers between the nearest values of each part of the key in turn; clamped to what is there."""
    if not key:
        return table[()]
    low, high, share = _neighbours(sorted({each[0] for each in table}), key[0])
    values = [
        _between({each[1:]: value for each, value in table.items() if each[0] == step}, key[1:]) for step in (low, high)
    ]
    return _power_mean(values[0], values[1], share)


def _neighbours(steps: Sequence[float], value: float) -> tuple[float, float, float]:
    """The neighbours of `value` among ascending steps, and where it lies between them, by powers; clamped."""
    value = min(max(value, steps[0]), steps[-1])
    above = next(step for step in steps if step >= value)
    below = max(step for step in steps if step <= value)
    return below, above, 0.0 if above == below else math.log(value / below) / math.log(above / below)


def _power_mean(low: float, high: float, share: float) -> float:
    if low <= 0 or high <= 0:
        return (1 - share) * low + share * high
    return math.exp((1 - share) * math.log(low) + share * math.log(high))
