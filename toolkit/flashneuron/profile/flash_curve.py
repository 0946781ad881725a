"""The flash curve: how fast a device reads, by size of a read and threads, and what follows for the reader.

Reading is settled by three numbers. Threads: the fewest that come within a few per cent of the best rate at the size of
a record. The longest read: from there on longer reads are hardly faster. The gap: a read of s bytes costs a + s·b,
fitted to the curve at those threads; reading g bytes too many costs g·b and saves one a, so gaps up to a / b pay.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flashneuron.device.host import cache_folder
from flashneuron.errors import InputError
from flashneuron.package.atomic import atomic_write

NEAR_BEST, NEAR_BEST_SIZE = 0.97, 0.95  # of the best rate, for threads and for the longest read
LEAST_MAX_READ = 256 << 10  # shorter ones would cut runs of neighbours where the curve is flat
MOST_READ, BLOCK = 64 << 20, 4096
_IDENTITY = ("device", "kind", "model", "soc", "cpu", "cores", "storage_total_bytes", "emulated")


class CurvePoint(BaseModel):
    """Scattered reads of one size, `threads` in flight, for a while."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    read_bytes: int = Field(gt=0)
    threads: int = Field(gt=0)
    reads: int = Field(gt=0)
    wall_us: int = Field(gt=0)
    cpu_us: int

    @property
    def bytes_per_s(self) -> float:
        return 1e6 * self.reads * self.read_bytes / self.wall_us

    @property
    def us_per_read(self) -> float:
        """Wall time by which each read lengthens the whole, `threads` at a time."""
        return self.wall_us / self.reads

    @property
    def cpu_us_per_read(self) -> float:
        return self.cpu_us / self.reads


class BurstPoint(BaseModel):
    """Bursts of `reads` scattered reads of one size, handed to `threads` workers at once. Medians."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    read_bytes: int = Field(gt=0)
    threads: int = Field(gt=0)
    reads: int = Field(gt=0)
    bursts: int = Field(gt=0)
    wall_us: int = Field(gt=0)  # of one that is waited for
    lost_us: int = Field(ge=0)  # what computing loses that goes on meanwhile


class KindPoint(CurvePoint):
    """With the workers on one kind of core: `core_kind` is its index in the curve's core_kinds."""

    core_kind: int = Field(ge=0)


class CoreKind(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    cpus: list[int]
    speed: int  # the kernel's cpu_capacity, else kHz
    measured: bool | None = None  # None: it is the only kind


class FlashCurve(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    kind: Literal["flashneuron-flash-curve"] = "flashneuron-flash-curve"
    measured: str  # ISO 8601, UTC
    conditions: dict[str, Any]
    points: list[CurvePoint] = Field(min_length=1)
    bursts: list[BurstPoint] = Field(min_length=1)
    kind_points: list[KindPoint] = []
    hot_points: list[CurvePoint] = []  # of what lies in the page cache
    core_kinds: list[CoreKind] = []  # from slow to fast; empty: the kernel does not tell
    file_bytes: int
    block_bytes: int
    direct_io: bool
    direct_io_why: str | None = None
    bytes_read: int
    storage_bytes_read: int | None = None  # what the kernel counted
    dram_bytes_per_s: int
    dram_threads: int

    @property
    def of_flash(self) -> bool:
        """Whether every byte came from storage: otherwise the curve is the page cache's and settles nothing."""
        return self.direct_io and (self.storage_bytes_read is None or self.storage_bytes_read >= self.bytes_read)


@dataclass(frozen=True)
class ReadTuning:
    io_threads: int
    read_gap: int  # bytes
    max_read: int  # bytes


def tune(points: Sequence[CurvePoint], record_bytes: int) -> ReadTuning:
    """Precondition: at least one point."""
    sizes = sorted({point.read_bytes for point in points})
    size = next((s for s in sizes if s >= record_bytes), sizes[-1])
    at_size = sorted((p for p in points if p.read_bytes == size), key=lambda p: p.threads)
    best = max(p.bytes_per_s for p in at_size)
    threads = next(p.threads for p in at_size if p.bytes_per_s >= NEAR_BEST * best)
    at_threads = sorted((p for p in points if p.threads == threads), key=lambda p: p.read_bytes)
    fastest = max(p.bytes_per_s for p in at_threads)
    longest = next(p.read_bytes for p in at_threads if p.bytes_per_s >= NEAR_BEST_SIZE * fastest)
    per_read, per_byte = fit_cost(at_threads)
    gap = min(MOST_READ, int(per_read / per_byte)) // BLOCK * BLOCK
    return ReadTuning(threads, gap, min(MOST_READ, max(LEAST_MAX_READ, longest, record_bytes)))


def fit_cost(points: Sequence[CurvePoint]) -> tuple[float, float]:
    """(a, b) in µs and µs per byte of the line a + s·b, a ≥ 0, that is nearest to us_per_read in relative squares."""
    weights = [1 / p.us_per_read**2 for p in points]
    total = sum(weights)
    mean_size = sum(w * p.read_bytes for w, p in zip(weights, points, strict=True)) / total
    mean_cost = sum(w * p.us_per_read for w, p in zip(weights, points, strict=True)) / total
    spread = sum(w * (p.read_bytes - mean_size) ** 2 for w, p in zip(weights, points, strict=True))
    joint = sum(
        w * (p.read_bytes - mean_size) * (p.us_per_read - mean_cost) for w, p in zip(weights, points, strict=True)
    )
    per_byte = joint / spread if spread > 0 else 0.0
    per_read = mean_cost - per_byte * mean_size
    if per_byte > 0 and per_read >= 0:
        return per_read, per_byte
    # No line with a cost per read fits: bytes are all that counts.
    squares = sum(w * p.read_bytes**2 for w, p in zip(weights, points, strict=True))
    return 0.0, sum(w * p.read_bytes * p.us_per_read for w, p in zip(weights, points, strict=True)) / squares


def curve_path(conditions: Mapping[str, Any]) -> Path:
    """Where the curve of the device with these conditions is kept."""
    identity = {name: conditions.get(name) for name in _IDENTITY}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(conditions.get("device") or "device"))[:60]
    return cache_folder() / "flash-curves" / f"{name}-{digest}.json"


def write_curve(curve: FlashCurve, path: Path) -> None:
    try:
        atomic_write(path, (json.dumps(curve.model_dump(mode="json"), indent=1) + "\n").encode())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def find_curve(conditions: Mapping[str, Any]) -> FlashCurve | None:
    """The device's curve; None if it was never probed. Raises InputError for a file that is damaged."""
    path = curve_path(conditions)
    if not path.is_file():
        return None
    try:
        return FlashCurve.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise InputError(f"{path} is not a flash curve; remove it, or measure again: flashneuron probe") from None
