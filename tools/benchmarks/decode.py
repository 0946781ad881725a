"""One measured decode: a fixed token sequence, teacher-forced, through the runner in a capped memory group."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flashneuron
from benchmarks import group
from benchmarks.packages import files
from flashneuron.device.runtime import find_runtime
from flashneuron.package.manifest import Package

CAP_OVER_BUDGET = 1.05  # the group's cap is this much above what the runner is told


@dataclass(frozen=True)
class Sample:
    """Per counted token unless said otherwise; times in microseconds."""

    wall_us: list[int]
    totals: dict[str, float]
    selection: dict[str, float]
    settings: dict[str, Any]
    ram_bytes: int
    peak_rss_bytes: int
    peak_group_bytes: int
    limit_hits: int
    swap_bytes: int
    storage_read_bytes: int  # of the whole run, as the kernel counted them
    direct_io: bool
    nll: float  # of the whole sequence

    def mean(self, counter: str) -> float:
        return self.totals[counter]


def measure(
    package: Package,
    ram_bytes: int,
    settings: Mapping[str, str],
    ids: Sequence[int],
    uncounted: int,
    threads: int,
    io_threads: int = 16,
) -> Sample:
    """Raises SystemExit if the runner fails or reads through the page cache."""
    runner = find_runtime(_machine()) / "flashneuron-runner"
    keys = {"version": flashneuron.__version__, "package": str(package.folder), "ram": str(ram_bytes)}
    keys |= {"uncounted": str(uncounted), "steps": "on", "threads": str(threads), "io_threads": str(io_threads)}
    keys |= settings
    group.evict(files(package))
    command = [str(runner), "score", *(f"{key}={value}" for key, value in keys.items())]
    outcome = group.run(command, int(ram_bytes * CAP_OVER_BUDGET), " ".join(map(str, ids)).encode() + b"\n")
    events = [json.loads(line) for line in outcome.stdout.splitlines()]
    ready = next(event for event in events if event["event"] == "ready")
    result = events[-1]
    if not ready["direct_io"]:
        raise SystemExit(f"bench: reads of {package.folder} are not direct: {ready.get('direct_io_why')}")
    steps = result["decode_steps"]
    return Sample(
        wall_us=[event["wall_us"] for event in events if event["event"] == "step"],
        totals={name: value / steps for name, value in result["totals"].items()},
        selection=result["selection"],
        settings=ready["settings"],
        ram_bytes=ram_bytes,
        peak_rss_bytes=result["memory"]["peak_rss_bytes"],
        peak_group_bytes=outcome.peak_bytes or 0,
        limit_hits=outcome.limit_hits or 0,
        swap_bytes=result["memory"]["vm_swap_bytes"],
        storage_read_bytes=outcome.read_bytes,
        direct_io=ready["direct_io"],
        nll=result["nll"],
    )


def _machine() -> str:
    import platform

    return platform.machine()
