"""Where and with what a benchmark ran: printed with every figure."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flashneuron
from flashneuron.emulator.blockdev import disk_of

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "bench"  # packages and builds, outside git


def conditions() -> dict[str, Any]:
    facts: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "flashneuron": flashneuron.__version__,
        "commit": _line(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]),
        "cpu": _field(Path("/proc/cpuinfo"), "model name"),
        "cores": os.cpu_count(),
        "memory_kib": _field(Path("/proc/meminfo"), "MemTotal"),
        "available_kib": _field(Path("/proc/meminfo"), "MemAvailable"),
        "load": [round(each, 2) for each in os.getloadavg()],
        "system": platform.platform(),
    }
    disk = disk_of(ROOT)
    facts["disk"] = disk if isinstance(disk, str) else disk.name
    return facts


def _line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _field(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
