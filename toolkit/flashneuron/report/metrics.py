"""Numbers out of runs. Pure: medians, quartiles, shares, and which runs measure the same thing.

Latency of a point is the median of its decoded tokens over all repeats, with the quartiles of the same tokens; parts of
a token (breakdown, bytes, requests) are means over those tokens, so that parts add up. Prefill counts in none of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flashneuron.profile.ladder import LADDER
from flashneuron.profile.run_file import Counters, Predicted, Run, TokenCounters
from flashneuron.units import format_bytes

PHASES = ("stall", "memory", "predictor", "attention", "ffn", "head")  # fields X_us of Counters; the rest is "other"
PARTS = (*PHASES, "other")
COMPUTE = ("predictor", "attention", "ffn", "head")
_NOT_FACTS = {"package", "store", "version", "ram", "max_new_tokens", "context", "ignore_eos"}


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of `count` values."""

    median: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Decode:
    """What decoding cost per token; times in microseconds."""

    latency_us: Spread
    tokens_per_s: float
    bytes_read: float
    bytes_spread: Spread
    bytes_wanted: float
    requests: float
    io_us: float
    parts_us: dict[str, float]  # by PARTS; their sum is the mean wall time
    hit_rate: float | None  # None where no neuron was selected

    @property
    def compute_us(self) -> float:
        return sum(self.parts_us[name] for name in COMPUTE)

    @property
    def amplification(self) -> float | None:
        """Bytes read over bytes wanted: blocks are wider than records, and gaps are read across. None without reads."""
        return self.bytes_read / self.bytes_wanted if self.bytes_wanted else None


@dataclass(frozen=True)
class Point:
    """All repeats of one thing under one budget."""

    facts: dict[str, str]  # everything that it depends on, but for the budget
    ladder_step: str | None
    ram_bytes: int
    runs: tuple[Run, ...]
    decode: Decode
    run_medians_us: tuple[float, ...]
    prefill_us: float  # median of the repeats
    layer_hit_rates: tuple[float, ...]
    peak_rss_bytes: int  # the largest of the repeats
    predicted: Predicted | None = None


def spread(values: Iterable[float]) -> Spread:
    """Precondition: at least one value. Quartiles by linear interpolation."""
    data = np.fromiter(values, dtype=np.float64)
    low, median, high = np.percentile(data, [25, 50, 75])
    return Spread(float(median), float(low), float(high), data.size)


def parts_us(tokens: Sequence[Counters]) -> dict[str, float]:
    """Mean time of a token by part. "other" is what no counter claims, never below 0."""
    parts = {name: _mean(getattr(token, f"{name}_us") for token in tokens) for name in PHASES}
    parts["other"] = max(0.0, _mean(token.wall_us for token in tokens) - sum(parts.values()))
    return parts


def hit_rate(counters: Iterable[Counters]) -> float | None:
    found = [(counter.hits, counter.selected) for counter in counters]
    selected = sum(s for _, s in found)
    return sum(h for h, _ in found) / selected if selected else None


def decode(tokens: Sequence[TokenCounters]) -> Decode | None:
    """None where no token was decoded (a single new token comes from the prefill)."""
    if not tokens:
        return None
    wall = sum(token.wall_us for token in tokens)
    return Decode(
        latency_us=spread(token.wall_us for token in tokens),
        tokens_per_s=len(tokens) * 1e6 / wall if wall else 0.0,
        bytes_read=_mean(token.bytes_read for token in tokens),
        bytes_spread=spread(token.bytes_read for token in tokens),
        bytes_wanted=_mean(token.bytes_wanted for token in tokens),
        requests=_mean(token.requests for token in tokens),
        io_us=_mean(token.io_us for token in tokens),
        parts_us=parts_us(tokens),
        hit_rate=hit_rate(tokens),
    )


def facts(run: Run) -> dict[str, str]:
    """What two runs must share to measure the same thing. What was left open is "auto" at every budget."""
    in_force = {**run.ready.settings, **{name: run.asked.get(name, "auto") for name in ("window", "hot")}}
    if "draft" in in_force:  # the runner's is a folder of the device
        in_force["draft"] = run.asked.get("draft", in_force["draft"])
    if "ram_at" in in_force:
        changes = (change.split(":") for change in str(in_force["ram_at"]).split(","))
        in_force["ram_at"] = ", ".join(f"{token}:{format_bytes(int(size))}" for token, size in changes)
    if "follow_memory" in in_force:
        in_force["follow_memory"] = format_bytes(int(in_force["follow_memory"]))
    settings = {name: _word(value) for name, value in in_force.items() if name not in _NOT_FACTS}
    emulated = run.emulated
    return {
        "package": f"{run.package.name} ({run.package.sha256[:8]})",
        "device": f"emulated phone: {emulated.get('profile')}{events_text(emulated)}" if emulated else run.device,
        **({"limits": limits_text(emulated)} if emulated else {}),
        "prompt": f"{run.workload.source}, {len(run.workload.prompt_ids)} tokens ({_digest(run.workload.prompt_ids)})",
        "new tokens": str(run.workload.max_new_tokens),
        **settings,
        "direct_io": "on" if run.ready.direct_io else "off",
        "flashneuron": run.versions.get("flashneuron", "unknown"),
    }


def events_text(emulated: dict[str, Any]) -> str:
    """ " (thermal severe: …)" if something had befallen an emulated phone."""
    events = emulated.get("events")
    return (
        f" ({'; '.join(f'{name} {said}' for name, said in events.items())})"
        if isinstance(events, dict) and events
        else ""
    )


def limits_text(emulated: dict[str, Any]) -> str:
    """ "enforced: …; not enforced: …" from the limits of an emulated phone, or that it tells none."""
    told = emulated.get("limits")
    limits = [limit for limit in told if isinstance(limit, dict)] if isinstance(told, list) else []
    parts = []
    for held, title in ((True, "enforced"), (False, "not enforced")):
        words = [_limit(limit) for limit in limits if bool(limit.get("enforced")) is held]
        parts += [f"{title}: {', '.join(words)}"] if words else []
    return "; ".join(parts) or "it tells of no limits"


def points(runs: Sequence[Run]) -> list[Point]:
    """Runs of the same thing together, by budget; a ladder's after them, step by step. Without decoded tokens: none."""
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        key = (run.ladder_step, run.ram_bytes, tuple(facts(run).items()))
        groups.setdefault(key, []).append(run)
    found = [_point(group) for group in groups.values() if all(run.decoded for run in group)]
    order = {name: number for number, name in enumerate((None, *(step.name for step in LADDER)))}
    return sorted(found, key=lambda p: (order.get(p.ladder_step, len(order)), p.ram_bytes, *p.facts.values()))


def differing(found: Sequence[Point]) -> list[str]:
    """Facts that are not the same for all points, in their order."""
    names = dict.fromkeys(name for point in found for name in point.facts)
    return [name for name in names if len({point.facts.get(name) for point in found}) > 1]


def lines(found: Sequence[Point]) -> dict[str, list[Point]]:
    """Points that differ in nothing but the budget, by a label of what tells the lines apart ("" for a single line)."""
    names = differing(found)
    grouped: dict[str, list[Point]] = {}
    for point in found:
        label = ", ".join(f"{name} {point.facts.get(name, '–')}" for name in names)
        grouped.setdefault(label, []).append(point)
    return grouped


def _point(group: Sequence[Run]) -> Point:
    first = group[0]
    measured = decode([token for run in group for token in run.decoded])
    assert measured is not None, "points() drops runs without decoded tokens"
    layers = zip(*(run.result.layers for run in group), strict=False)
    return Point(
        facts=facts(first),
        ladder_step=first.ladder_step,
        ram_bytes=first.ram_bytes,
        runs=tuple(group),
        decode=measured,
        run_medians_us=tuple(spread(t.wall_us for t in run.decoded).median for run in group),
        prefill_us=spread(run.prefill.wall_us for run in group).median,
        layer_hit_rates=tuple(hit_rate(layer) or 0.0 for layer in layers),
        peak_rss_bytes=max(run.result.memory.peak_rss_bytes for run in group),
        predicted=first.predicted,
    )


def _limit(limit: dict[str, Any]) -> str:
    name, value = str(limit.get("name", "limit")), limit.get("value")
    if isinstance(value, int):
        plain = {"cores", "user"} & {name}
        size = str(value) if plain else format_bytes(value) + "/s" * name.endswith("_bandwidth")
        value = f"{value:,}/s" if name.endswith("_iops") else size
    why = f" ({limit['note']})" if limit.get("note") and not limit.get("enforced") else ""
    return f"{name.replace('_', ' ')} {value}{why}"


def _digest(ids: Sequence[int]) -> str:
    """Tells prompts of the same source and length apart."""
    return hashlib.sha256(repr(list(ids)).encode()).hexdigest()[:8]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(np.fromiter(values, dtype=np.float64)))


def _word(value: Any) -> str:
    return (
        {True: "on", False: "off", None: "none"}.get(value, str(value))
        if isinstance(value, bool | None)
        else str(value)
    )
