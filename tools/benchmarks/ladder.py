"""The paper's ladder at true size (arXiv 2312.11514, table 2), and what goes beyond it, under a hard memory cap."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.decode import Sample, measure
from benchmarks.packages import synthetic_facts
from flashneuron.package.manifest import Package
from flashneuron.report.table import text_table
from flashneuron.units import format_bytes

TOLERANCE = 0.10  # of a published statistic, for a ratio to count


@dataclass(frozen=True)
class Rung:
    name: str
    settings: dict[str, str]
    tokens: int = 48  # counted
    uncounted: int = 12


def _cached(**more: str) -> dict[str, str]:
    return {"residency": "cached", "predictor": "lowrank", "layout": "bundled", "order": "none", **more}


_PLAIN = {"overlap": "off", "hot": "off", "order": "none"}
_WINDOW = {"residency": "cached", "predictor": "lowrank", "window": "4", **_PLAIN}
_DENSE = {"predictor": "none", "layout": "bundled", "order": "none", "overlap": "on"}
NAIVE = Rung("naive", {"residency": "naive", **_DENSE}, 2, 0)
HYBRID = Rung("hybrid", {"residency": "hybrid", **_DENSE}, 3, 0)
OURS = Rung("+ overlap = ours", _cached(window="auto", hot="auto", order="coactivation", overlap="on"))
LADDER = (
    NAIVE,
    HYBRID,
    Rung("+ predictor", {"residency": "hybrid", "predictor": "lowrank", "layout": "split", **_PLAIN}, 8, 2),
    Rung("+ window 4", {**_WINDOW, "layout": "split"}, 24, 6),
    Rung("+ bundling", {**_WINDOW, "layout": "bundled"}, 24, 6),
    Rung("+ budget as window", _cached(window="auto", hot="off", overlap="off")),
    Rung("+ hot set", _cached(window="auto", hot="auto", overlap="off")),
    Rung("+ co-activation order", _cached(window="auto", hot="auto", order="coactivation", overlap="off")),
    OURS,
)
_GATES = {"window": "auto", "hot": "auto", "order": "coactivation", "gate_first": "on"}
# Of gated models: what reading in two phases does to ours.
GATE_FIRST = (
    Rung("ours, gates first", _cached(**_GATES)),
    Rung("ours, gates first, split", _cached(**_GATES | {"layout": "split"})),
)
SHORT = (NAIVE, HYBRID, Rung("+ bundling", {**_WINDOW, "layout": "bundled"}, 24, 6), OURS)


def run(
    package: Package, ram_bytes: int, rungs: Sequence[Rung], repeats: int, threads: int, log: Any
) -> dict[str, Any]:
    """Every rung `repeats` times, A B C, C B A, …; figures of all samples."""
    facts = synthetic_facts(package)
    ids = facts["benchmark_token_ids"]
    samples: dict[str, list[Sample]] = {rung.name: [] for rung in rungs}
    for repeat in range(repeats):
        for rung in rungs[:: 1 if repeat % 2 == 0 else -1]:
            sequence = ids[: rung.uncounted + rung.tokens + 1]
            samples[rung.name].append(measure(package, ram_bytes, rung.settings, sequence, rung.uncounted, threads))
            log(f"{rung.name}: {statistics.mean(samples[rung.name][-1].wall_us) / 1000:.0f} ms a token")
    return {
        "package": package.manifest.name,
        "synthetic": True,
        "ram_bytes": ram_bytes,
        "published": facts["published"],
        "recall": facts["reached"]["recall"],
        "rungs": [summary(rung, samples[rung.name]) for rung in rungs],
    }


def summary(rung: Rung, samples: Sequence[Sample]) -> dict[str, Any]:
    walls = sorted(wall for sample in samples for wall in sample.wall_us)
    counters = samples[0].totals.keys()
    return {
        "name": rung.name,
        "tokens_per_s": 1e6 / statistics.mean(walls),
        "p50_us": statistics.median(walls),
        "p95_us": walls[min(len(walls) - 1, int(0.95 * len(walls)))],
        "mean": {name: statistics.mean(sample.totals[name] for sample in samples) for name in counters},
        "spread": {name: [min(s.totals[name] for s in samples), max(s.totals[name] for s in samples)]
                   for name in ("wall_us", "io_us", "stall_us")},
        "peak_group_bytes": max(sample.peak_group_bytes for sample in samples),
        "limit_hits": max(sample.limit_hits for sample in samples),
        "selection": samples[0].selection,
        "samples": [asdict(sample) for sample in samples],
    }  # fmt: skip


def ratios(report: dict[str, Any]) -> dict[str, float]:
    """Of means over all counted tokens of one run."""
    means = {rung["name"]: rung["mean"] for rung in report["rungs"]}
    naive, hybrid, ours = means[NAIVE.name], means[HYBRID.name], means[OURS.name]
    return {
        "io_naive_over_ours": naive["io_us"] / ours["io_us"],
        "total_naive_over_ours": naive["wall_us"] / ours["wall_us"],
        "total_hybrid_over_ours": hybrid["wall_us"] / ours["wall_us"],
        "stall_share": ours["stall_us"] / ours["wall_us"],
        "memory_share": ours["memory_us"] / ours["wall_us"],
    }


def activity(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Published beside what the rung `ours` measured of its own predictions in this run."""
    ours = next(rung for rung in report["rungs"] if rung["name"] == OURS.name)
    chosen, mean = ours["selection"], ours["mean"]
    fired = mean["fired"] / mean["selected"] * chosen["selected"]
    reached = {"predicted": chosen["selected"], "firing": fired, "union": chosen["united"], "new": chosen["fresh"]}
    # What fires and is not predicted is not computed: truly active is what fires over the predictor's measured recall.
    reached["firing"] /= report["recall"]
    published = report["published"]
    return [
        {"name": name, "published": published[name], "reached": value,
         "within": abs(value / published[name] - 1) <= TOLERANCE}
        for name, value in reached.items()
    ]  # fmt: skip


def tables(report: dict[str, Any]) -> str:
    head = ("step", "tok/s", "p50 ms", "p95 ms", "io", "stall", "attention", "FFN", "predictor", "memory", "read/token",
            "requests", "hit rate", "peak", "failcnt")  # fmt: skip
    rows = []
    for rung in report["rungs"]:
        mean = rung["mean"]
        ms = [f"{mean[name] / 1000:.1f}" for name in
              ("io_us", "stall_us", "attention_us", "ffn_us", "predictor_us", "memory_us")]  # fmt: skip
        rows.append((rung["name"], f"{rung['tokens_per_s']:.2f}", f"{rung['p50_us'] / 1000:.1f}",
                     f"{rung['p95_us'] / 1000:.1f}", *ms, format_bytes(int(mean["bytes_read"])),
                     f"{mean['requests']:.0f}", f"{mean['hits'] / max(1, mean['selected']):.1%}",
                     format_bytes(rung["peak_group_bytes"]), str(rung["limit_hits"])))  # fmt: skip
    active = [(row["name"], f"{row['published']:.2%}", f"{row['reached']:.2%}", "yes" if row["within"] else "NO")
              for row in activity(report)]  # fmt: skip
    title = f"{report['package']} (synthetic), {format_bytes(report['ram_bytes'])}; times in ms per token"
    return "\n\n".join([title, text_table(head, rows),
                        text_table(("share of the FFN", "published", "this run", "within 10 %"), active)])  # fmt: skip
