"""The emulated phones that run on this machine, as files: the emulator writes them, `--device` looks them up."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunningPhone:
    """One emulated phone. `pid` is its supervisor; `started_ticks` tells it from a later process."""

    name: str
    profile: str
    port: int
    pid: int
    started_ticks: int
    limits: list[dict[str, Any]] = field(default_factory=list)

    @property
    def device(self) -> str:
        """What `--device` takes."""
        return f"127.0.0.1:{self.port}"


def emulator_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flashneuron" / "emulator"


def running_phones() -> list[RunningPhone]:
    """By name. Files left by phones that are gone are removed."""
    phones = []
    for path in sorted((emulator_folder() / "running").glob("*.json")):
        try:
            phone = RunningPhone(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            phone = None
        if phone and process_start_ticks(phone.pid) == phone.started_ticks:
            phones.append(phone)
        else:
            path.unlink(missing_ok=True)
    return phones


def record_phone(phone: RunningPhone) -> None:
    path = _path(phone.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps(asdict(phone)))
    partial.replace(path)


def forget_phone(name: str) -> None:
    _path(name).unlink(missing_ok=True)


def process_start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _path(name: str) -> Path:
    return emulator_folder() / "running" / f"{name}.json"
