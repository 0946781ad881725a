"""How much a measured quantity changed between two sets of runs, and whether that is more than noise. Pure.

Tokens of one run are not independent (its caches, heat and clock are theirs alone), so a whole run is one observation:
each gives one value, a side's value is the median of its runs, and the interval resamples whole runs of both sides
(percentile bootstrap, fixed seed). It knows the noise between repeats of one sitting, not a drift between two sittings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flashneuron.profile.run_file import Run

CONFIDENCE, RESAMPLES, SEED = 0.95, 9999, 20240729
LEAST_RUNS = 3  # of each side for a verdict: of two, equal things would be called different once in three times
NOISE = "within noise"


@dataclass(frozen=True)
class Quantity:
    """`below` and `above`: the verdicts where the ratio is surely below, and surely above, 1."""

    name: str
    title: str
    unit: str  # us, bytes or tokens/s
    below: str
    above: str
    of: Callable[[Run], float]


def _per_token(name: str) -> Callable[[Run], float]:
    return lambda run: float(np.mean([getattr(token, name) for token in run.decoded]))


def _rate(run: Run) -> float:
    wall_us = sum(token.wall_us for token in run.decoded)
    return len(run.decoded) * 1e6 / wall_us if wall_us else 0.0


LATENCY = Quantity(
    "latency_us", "latency", "us", "faster", "slower", lambda r: float(np.median([t.wall_us for t in r.decoded]))
)
QUANTITIES = (
    LATENCY,
    Quantity("tokens_per_s", "tokens/s", "tokens/s", "slower", "faster", _rate),
    Quantity("bytes_read", "read per token", "bytes", "less", "more", _per_token("bytes_read")),
    Quantity("stall_us", "stall", "us", "faster", "slower", _per_token("stall_us")),
    Quantity("memory_us", "memory management", "us", "faster", "slower", _per_token("memory_us")),
    Quantity(
        "peak_rss_bytes", "peak RSS", "bytes", "less", "more", lambda run: float(run.result.memory.peak_rss_bytes)
    ),
)


@dataclass(frozen=True)
class Ratio:
    """B over A. None: A's value is 0, so that there is no ratio; no interval where a side has a single run."""

    a: float
    b: float
    ratio: float | None
    low: float | None
    high: float | None
    verdict: str


def ratio_of(quantity: Quantity, a_runs: Sequence[Run], b_runs: Sequence[Run]) -> Ratio:
    """Precondition: every run decoded a token."""
    a, b = (np.array([quantity.of(run) for run in runs]) for runs in (a_runs, b_runs))
    middle_a, middle_b = float(np.median(a)), float(np.median(b))
    ratio = middle_b / middle_a if middle_a > 0 else None
    low, high = _interval(a, b) if ratio is not None and min(len(a), len(b)) > 1 else (None, None)
    verdict = NOISE
    if low is not None and high is not None and min(len(a), len(b)) >= LEAST_RUNS:
        verdict = quantity.below if high < 1 else quantity.above if low > 1 else NOISE
    return Ratio(middle_a, middle_b, ratio, low, high, verdict)


def _interval(a: Any, b: Any) -> tuple[float | None, float | None]:
    """None where a resample of A may be 0."""
    from scipy.stats import bootstrap  # takes a second to load, which other commands need not spend

    if a.min() <= 0:
        return None, None
    found = bootstrap(
        (a, b),
        lambda a, b, axis: np.median(b, axis=axis) / np.median(a, axis=axis),
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(found.low), float(found.high)
