"""How fast a device computes: learned from the runs that were measured on it, else guessed from its DRAM.

Decoding reads every weight that it uses once, so each part of a token takes a time per layer and a time per byte. Runs
of the package itself give its times directly; those of other packages give times per byte; where nothing ever ran, a
share of the DRAM bandwidth that the probe found stands in for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from flashneuron.errors import InputError
from flashneuron.package.atomic import atomic_write
from flashneuron.package.manifest import Package
from flashneuron.profile.cost_model import ComputeTimes
from flashneuron.profile.flash_curve import curve_path
from flashneuron.profile.run_file import Run

KEPT = 400  # observations of a device; the oldest go first
NEW_PART_US = {"attention": 50.0, "predictor": 8.0, "ffn": 15.0, "memory": 5.0, "other": 20.0}  # per layer, of a guess
DRAM_SHARE = {"attention": 0.45, "predictor": 0.5, "ffn": 0.5, "head": 0.7}
_COPY_SHARE = 0.4  # of the DRAM bandwidth, for copying into caches
_ALIKE = 8.0  # times the bytes
Basis = Literal["runs of this package", "runs of other packages", "DRAM bandwidth"]


class Work(BaseModel):
    """Bytes of weights that a token uses, by part, and what else its time grows with."""

    model_config = ConfigDict(frozen=True)
    layers: int
    attention: int
    head: int
    predictor: int
    ffn: float  # of selected neurons
    inserted: float  # bytes copied into caches


class Observation(BaseModel):
    """One run: the work of a token and its median times."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    package: str  # SHA-256 of its manifest
    settings: str  # those that computing depends on
    threads: int
    work: Work
    times_us: dict[str, float]


class DeviceRates(BaseModel):
    kind: Literal["flashneuron-rates"] = "flashneuron-rates"
    observations: list[Observation] = []


def work_of(package: Package, backend: str, predicts: bool, overlap: bool, selected: float, misses: float) -> Work:
    """`selected` and `misses`: neurons per token of all layers together."""
    manifest = package.manifest
    size = {entry.path: entry.bytes for entry in manifest.files}
    programs = next((p for p in manifest.attention if p.backend == backend), manifest.attention[0])
    variant = manifest.ffn.variants[0]
    record = sum(manifest.geometry(variant, part).record_bytes for part in variant.layers[0].parts(variant.layout))
    predictors = sum(size[layer.file] for facts in manifest.predictors for layer in facts.layers) if predicts else 0
    return Work(
        layers=manifest.model.layers,
        attention=sum(size[name] for name in dict.fromkeys(programs.layers)),
        head=size[programs.head],
        predictor=predictors * (2 if overlap else 1),  # early reads predict each layer once more
        ffn=selected * record,
        inserted=misses * record,
    )


def compute_times(
    rates: DeviceRates, package: str, settings: str, work: Work, threads: int, dram_bytes_per_s: float
) -> tuple[ComputeTimes, Basis]:
    own = [o for o in rates.observations if (o.package, o.settings, o.threads) == (package, settings, threads)]
    other = [o for o in rates.observations if o.threads == threads and _alike(o.work, work)]
    basis: Basis = "runs of this package" if own else "runs of other packages" if other else "DRAM bandwidth"
    seen = own or other
    times = {part: _time(part, seen, work, dram_bytes_per_s) for part in (*NEW_PART_US, "head")}
    return ComputeTimes(**{f"{part}_us": time for part, time in times.items()}, threads=threads), basis


def _alike(one: Work, other: Work) -> bool:
    """Whether times per byte of one say something of the other: what fits caches is faster, what is small has more
    overhead.
    """
    sizes = [work.attention + work.head + work.predictor + work.ffn for work in (one, other)]
    return max(sizes) <= _ALIKE * min(sizes)


def _time(part: str, seen: Sequence[Observation], work: Work, dram_bytes_per_s: float) -> float:
    """Of the third of observations with the least reads the median, since reads that compete for the processor only add
    (the cost model does that itself); each brought to `work` in proportion: to its bytes, or to layers where none are.
    """
    wanted = _amount(part, work)
    calm = sorted(seen, key=lambda o: o.work.inserted)[: (len(seen) + 2) // 3]
    if part == "memory":  # what is copied into caches differs by far more than what it costs beside that
        us_per_byte = 1e6 / (_COPY_SHARE * dram_bytes_per_s)
        least = [o.times_us[part] * work.layers / o.work.layers - us_per_byte * o.work.inserted for o in calm]
        fixed = max(0.0, median(least)) if least else NEW_PART_US[part] * work.layers
        return fixed + us_per_byte * work.inserted
    if calm:
        return median(o.times_us[part] * wanted / max(_amount(part, o.work), 1e-9) for o in calm)
    fixed = NEW_PART_US.get(part, 0.0) * work.layers
    return fixed + 1e6 * wanted / (DRAM_SHARE[part] * dram_bytes_per_s) if part in DRAM_SHARE else fixed


def _amount(part: str, work: Work) -> float:
    """What the time of a part grows with: its bytes, with what a layer costs whatever its size in the same unit."""
    per_layer = 16 * 1024 * work.layers
    by_part = {"attention": work.attention, "head": work.head, "predictor": work.predictor, "ffn": work.ffn}
    return by_part[part] + (per_layer if part != "head" else 0) if part in by_part else float(work.layers)


def observe(run: Run, package: Package) -> Observation | None:
    """What a run says of computing; None where it says nothing: no decoded token, a clock without meaning, or tokens
    that were computed together.
    """
    tokens = run.decoded
    if not tokens or (run.ready.on_npu and run.emulated) or run.result.rounds is not None:
        return None
    times = {
        part: median(getattr(t, f"{part}_us") for t in tokens)
        for part in ("attention", "predictor", "ffn", "memory", "head")
    }
    known = ("attention_us", "predictor_us", "ffn_us", "memory_us", "head_us", "stall_us")
    times["other"] = max(0.0, median(t.wall_us - sum(getattr(t, name) for name in known) for t in tokens))
    settings = run.ready.settings
    selected, misses = (sum(getattr(t, name) for t in tokens) / len(tokens) for name in ("selected", "misses"))
    predicts = settings.get("predictor") == "lowrank"
    work = work_of(package, str(settings.get("backend")), predicts, settings.get("overlap") == "on", selected, misses)
    return Observation(
        package=run.package.sha256,
        settings=settings_key(settings),
        threads=int(settings.get("threads", 1)),
        work=work,
        times_us=times,
    )


def settings_key(settings: Mapping[str, Any]) -> str:
    """The settings in force that computing depends on."""
    return json.dumps([str(settings.get(name)) for name in ("backend", "predictor", "residency", "kv", "overlap")])


def rates_path(conditions: Mapping[str, Any]) -> Path:
    curve = curve_path(conditions)
    return curve.parent.with_name("rates") / curve.name


def read_rates(conditions: Mapping[str, Any]) -> DeviceRates:
    """Of the device with these conditions; empty if nothing ever ran there. Raises InputError for a damaged file."""
    path = rates_path(conditions)
    try:
        return DeviceRates.model_validate_json(path.read_bytes()) if path.is_file() else DeviceRates()
    except (OSError, ValidationError):
        raise InputError(f"{path} is damaged; remove it: later runs write it again") from None


def add_rates(conditions: Mapping[str, Any], observation: Observation | None) -> None:
    if observation is None:
        return
    path, known = rates_path(conditions), read_rates(conditions)
    kept = [*known.observations, observation][-KEPT:]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, DeviceRates(observations=kept).model_dump_json(indent=1).encode())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
