"""A run: what was measured, with everything that it depends on. One JSON file each, written whole or not at all.

Names are the runner's (device_runtime/PROTOCOL.md); times are microseconds, sizes bytes.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from flashneuron.errors import InputError
from flashneuron.package.atomic import atomic_write

SCHEMA_MAJOR, SCHEMA_MINOR = 1, 5  # major: meaning or absence of a field; minor: a field more

TRACE_SUFFIX = ".trace.json"  # of a run's trace beside it


class _Record(BaseModel):
    """Whole numbers are counts, times and sizes: of 0 to 63 bits."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="after")
    def _numbers_are_counts(self) -> Self:
        wrong = [name for name, value in self if isinstance(value, int) and not 0 <= value < 1 << 63]
        if wrong:
            raise ValueError(f"{wrong[0]} is out of range")
        return self


class Counters(_Record):
    """Of one token, of one layer, or sums. selected = hits + misses."""

    wall_us: int
    io_us: int
    stall_us: int
    memory_us: int
    predictor_us: int
    attention_us: int
    ffn_us: int
    head_us: int = 0
    draft_us: int = 0
    bytes_wanted: int
    bytes_read: int
    requests: int
    selected: int
    fired: int = 0
    hits: int
    misses: int
    early: int = 0
    early_used: int = 0


class TokenCounters(Counters):
    index: int
    id: int
    rss_bytes: int | None = None  # of the process after this token, where the budget may change


class BudgetChange(_Record):
    """Another budget, in force from the token `index` on."""

    index: int
    ram_bytes: int
    neurons_bytes: int
    cache_rows: int  # that the caches have room for, all layers together
    freed_us: int  # what the change took, before that token
    rss_bytes: int  # right after it


class LayerCounters(Counters):
    window_union_mean: float
    cache_rows: int


class Role(_Record):
    role: str
    bytes: int


class Budget(_Record):
    roles: list[Role]
    minimum_bytes: int
    all_resident_bytes: int = Field(gt=0)
    ram_bytes: int | None = None


class Ready(_Record):
    settings: dict[str, Any]  # every runner key with the value in force
    budget: Budget
    load_us: int
    direct_io: bool
    direct_io_why: str | None = None
    block_bytes: int
    warnings: list[str] = []
    backend_why: str | None = None  # why settings["backend"] was taken
    attention_load_us: int | None = None
    attention_loaded_bytes: int | None = None  # of RSS, while the attention programs were loaded
    kv_in_place: bool | None = None  # the NPU reads the KV cache where it lies; None: no NPU

    @property
    def on_npu(self) -> bool:
        return str(self.settings.get("backend", "")).startswith("qnn-")


class Prefill(Counters):
    tokens: int


class Memory(_Record):
    peak_rss_bytes: int
    rss_anon_bytes: int
    vm_swap_bytes: int
    major_faults: int
    ram_bytes: int | None = None  # the largest that was in force


class Result(_Record):
    finish: str | None = None
    token_ids: list[int] = []
    tokens: int
    decode_steps: int  # tokens after the first: what totals and layers sum over
    # Speculative decoding: passes over drafted tokens, and of these all and those that were accepted.
    rounds: int | None = None
    drafted: int | None = None
    accepted: int | None = None
    totals: Counters
    layers: list[LayerCounters]
    memory: Memory


class PackageRef(_Record):
    name: str
    sha256: str  # of manifest.json, which holds the hash of every other file
    bytes: int
    synthetic: bool = False


class Workload(_Record):
    source: str  # where the prompt is from, for people
    prompt_ids: list[int]  # with the prefix
    max_new_tokens: int


class WarmUp(_Record):
    """A short run before the first one that counts; of what it measured only the time is kept."""

    started: str  # ISO 8601, UTC
    asked: dict[str, Any]
    prompt_tokens: int
    tokens: int
    wall_us: int  # of prefill and decoding


class CoolDown(_Record):
    """What the run waited for, so that heat of the runs before it does not slow it down."""

    limit_s: float  # 0: none
    waited_s: float
    state: Literal["cool", "warm", "untold"]  # as at the start of the profile, warmer, or the device tells no heat
    warmer: list[str] = []  # what was


class Predicted(_Record):
    """What the cost model said before anything was measured; means per token."""

    wall_us: float
    stall_us: float
    compute_us: float
    requests: float
    bytes_read: float
    hit_rate: float
    basis: str  # what computing was told by


class Run(_Record):
    """`tokens` holds every generated token; one that the prefill gave selected no neurons and is not a decode step."""

    schema_version: str = f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}"
    kind: Literal["flashneuron-run"] = "flashneuron-run"
    started: str  # ISO 8601, UTC
    device: str
    repeat: int
    ladder_step: str | None = None
    package: PackageRef
    workload: Workload
    asked: dict[str, Any]  # settings as asked; what is in force is in ready
    ready: Ready
    prefill: Prefill
    tokens: list[TokenCounters]
    budget_changes: list[BudgetChange] = []
    result: Result
    conditions_before: dict[str, Any]
    conditions_after: dict[str, Any]
    warm_up: WarmUp | None = None  # before the first run of the profile that this one belongs to
    cool_down: CoolDown | None = None  # before this run
    predicted: Predicted | None = None
    versions: dict[str, str]

    @field_validator("started")
    @classmethod
    def _started_is_a_time(cls, value: str) -> str:
        if datetime.fromisoformat(value).tzinfo is None:
            raise ValueError("a time without a zone")
        return value

    @property
    def decoded(self) -> list[TokenCounters]:
        return [token for token in self.tokens if token.selected > 0]

    @property
    def ram_bytes(self) -> int:
        """The budget in force at the start; without one everything is resident."""
        return self.ready.budget.ram_bytes or self.ready.budget.all_resident_bytes

    @property
    def emulated(self) -> dict[str, Any] | None:
        found = self.conditions_before.get("emulated")
        return found if isinstance(found, dict) else None


def write_run(run: Run, path: Path) -> None:
    write_text_atomically(path, json.dumps(run.model_dump(mode="json"), indent=1) + "\n")


def read_run(path: Path) -> Run:
    """Raises InputError that names the file and its first defect."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} is not JSON; a run is written by flashneuron profile") from None
    if not isinstance(data, dict) or data.get("kind") != "flashneuron-run":
        raise InputError(f"{path} is not a run; runs are written by flashneuron profile")
    major = str(data.get("schema_version", "")).partition(".")[0]
    if major != str(SCHEMA_MAJOR):
        raise InputError(
            f"{path} has run schema {data.get('schema_version')!r}, this flashneuron reads {SCHEMA_MAJOR}.x; "
            "read it with the flashneuron that wrote it, or measure again"
        )
    try:
        return Run.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the run"
        what = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{path} is damaged: {where}: {what}; measure it again") from None


def find_runs(paths: list[Path]) -> list[Path]:
    """Run files: the given files, and every *.json of the given folders but traces. InputError where there is none."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        inside = [file for file in inside if file == path or not file.name.endswith(TRACE_SUFFIX)]
        if not inside:
            if folders := sorted({file.parent for file in path.glob("*/*.json")}):
                raise InputError(f"no runs in {path} itself; name folders in it: {' '.join(map(str, folders))}")
            raise InputError(f"no runs in {path}; measure some: flashneuron profile PKG -o {path}")
        found += [file for file in inside if file not in found]
    return found


def write_text_atomically(path: Path, text: str) -> None:
    """All of the text or the old file. Raises InputError where the folder cannot take it."""
    try:
        atomic_write(path, text.encode())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
