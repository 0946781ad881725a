"""Ours on half of its memory against llama.cpp with half and with all of its own: equal bytes, threads, disk, run."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import ladder, native
from benchmarks.decode import CAP_OVER_BUDGET
from benchmarks.packages import package_bytes
from flashneuron.package.manifest import Package
from flashneuron.report.table import text_table
from flashneuron.units import format_bytes

FULL_TOKENS, HALF_TOKENS = 48, 6  # that llama.cpp is timed on


def run(package: Package, repeats: int, threads: int, log: Any) -> dict[str, Any]:
    size = package_bytes(package)
    half = size // 2
    full_rates: list[float] = []
    half_rates: list[float] = []
    peers: list[dict[str, Any]] = []
    ours: list[dict[str, Any]] = []

    def llama(ram: str, tokens: int, rates: list[float]) -> None:
        words = ["--bytes", size, "--ram", ram, "--threads", threads, "--tokens", tokens]
        peers.append(native.script("bench-peer", *map(str, words)))
        rates += [each["tokens_per_s"] for each in peers[-1]["repeats"]]
        log(f"llama.cpp, memory {ram}: {rates[-1]:.2f} tokens/s")

    def own() -> None:
        ours.append(ladder.run(package, half, (ladder.OURS,), 1, threads, log))

    for repeat in range(repeats):
        for step in ("full", "ours", "half")[:: 1 if repeat % 2 == 0 else -1]:
            if step == "full":
                llama("none", FULL_TOKENS, full_rates)
            elif step == "half":
                llama(str(int(half * CAP_OVER_BUDGET)), HALF_TOKENS, half_rates)
            else:
                own()
    our_rates = [each["rungs"][0]["tokens_per_s"] for each in ours]
    rate = statistics.median(our_rates)
    return {
        "bytes": size,
        "ram_bytes": half,
        "tokens_per_s": {"ours_half": our_rates, "llamacpp_half": half_rates, "llamacpp_full": full_rates},
        "ours": ours,
        "llamacpp": peers,
        "ratios": {
            "ours_over_llamacpp_half": rate / statistics.median(half_rates),
            "ours_half_over_llamacpp_full": rate / statistics.median(full_rates),
        },
    }


def table(report: dict[str, Any]) -> str:
    rows = [
        (name, f"{statistics.median(rates):.2f}", f"{min(rates):.2f}–{max(rates):.2f}")
        for name, rates in report["tokens_per_s"].items()
    ]
    title = f"{format_bytes(report['bytes'])} of weights; half is {format_bytes(report['ram_bytes'])}"
    return "\n\n".join([title, text_table(("", "tok/s", "spread"), rows), ladder.tables(report["ours"][0])])
