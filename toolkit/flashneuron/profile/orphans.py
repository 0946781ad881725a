"""Runs of a profile that was killed. They outlive it on the device, as every run does, and would keep the next profile
out; nobody waits for them, since what that profile had not written is measured again.

A run's request says which process began it. Only this machine can tell whether that one still lives.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flashneuron.device import detached
from flashneuron.device.protocol import Device

OWNER = "profile"  # of a request


def owner(pid: int | None = None) -> dict[str, Any] | None:
    """What names a process of this machine (default: this one), and no other one, even after a restart. None where it
    is gone, or the system does not tell.
    """
    pid = pid or os.getpid()
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        numbers = Path("/proc/self/ns/pid").readlink()  # containers number their processes apart
    except (OSError, IndexError):
        return None
    return {"host": platform.node(), "numbers": str(numbers), "boot": boot, "pid": pid, "started": started}


def is_orphan(request: object) -> bool:
    """Whether a profile of this machine began the run and is gone. When in doubt it is not."""
    said = request.get(OWNER) if isinstance(request, Mapping) else None
    here = owner()
    if not isinstance(said, dict) or here is None or any(said.get(name) != here[name] for name in ("host", "numbers")):
        return False
    pid = said.get("pid")
    return isinstance(pid, int) and 0 < pid < 1 << 31 and owner(pid) != said


def end_orphans(device: Device) -> list[str]:
    """Ends and removes them, and returns their names."""
    found = [run.name for run in detached.list_runs(device) if is_orphan(run.request)]
    for name in found:
        detached.stop(device, name)
        detached.remove(device, name)
    return found
