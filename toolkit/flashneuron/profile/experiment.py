"""Many runs, one after the other, each kept as soon as it is measured: an interrupted profile goes on where it was."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from flashneuron.device.runner import Runner
from flashneuron.errors import InputError
from flashneuron.profile.budgets import spread_budgets
from flashneuron.profile.cool_down import CoolingDown, Heat
from flashneuron.profile.ladder import LADDER
from flashneuron.profile.orphans import OWNER, end_orphans, owner
from flashneuron.profile.predicted import learn, predict_points, ran_before, unpredictable
from flashneuron.profile.run_file import TRACE_SUFFIX, Predicted, Run, WarmUp, Workload, read_run, write_run
from flashneuron.profile.session import NO_KEYS, Generation, Session
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.trace import traced
from flashneuron.progress import Progress
from flashneuron.units import format_bytes

WARM_UP_PROMPT_TOKENS, WARM_UP_NEW_TOKENS = 16, 4
_T = TypeVar("_T")
_IDENTITY = ("kind", "model", "soc", "cpu", "cores", "emulated")  # conditions that make it another device


@dataclass(frozen=True)
class Point:
    """One thing to measure."""

    settings: RunSettings
    ladder_step: str | None = None

    @property
    def label(self) -> str:
        shown = {k: v for k, v in self.settings.asked().items() if k not in {"ram", "context"}}
        ram = format_bytes(self.settings.ram) if self.settings.ram else "all resident"
        words = [self.ladder_step] if self.ladder_step else [f"{name}={value}" for name, value in shown.items()]
        return ", ".join([f"ram {ram}", *words])


@dataclass(frozen=True)
class Job:
    """One run: what is measured, and what it computes."""

    point: Point
    workload: Workload
    named: bool = False  # whether the label says which workload it is

    @property
    def label(self) -> str:
        return f"{self.workload.source}, {self.point.label}" if self.named else self.point.label


@dataclass(frozen=True)
class Measured:
    run: Run
    path: Path


def jobs_of(points: Sequence[Point], workloads: Sequence[Workload]) -> list[Job]:
    return [Job(point, workload, len(workloads) > 1) for point, workload in itertools.product(points, workloads)]


def grid(lists: Mapping[str, Sequence[str]], base: RunSettings) -> list[Point]:
    """The cross product of lists of option texts, in the order given. Raises InputError naming a bad option."""
    points = []
    for combination in itertools.product(*lists.values()):
        texts = dict(zip(lists, combination, strict=True))
        parsed = RunSettings.parse(texts)
        points.append(Point(replace(base, **{name: getattr(parsed, name) for name in texts})))
    return list(dict.fromkeys(points))


def with_context(points: Sequence[Point], tokens: int) -> list[Point]:
    """Every point with room for just these tokens, so that all ask for the same KV cache."""
    return [replace(point, settings=replace(point.settings, context=tokens)) for point in points]


def complete(points: Sequence[Point], session: Session, ladder: bool, budgets_open: bool) -> list[Point]:
    """Every point at the ladder's steps; without a ladder at budgets chosen for it, where those are open."""
    if ladder:
        return [Point(step.apply(point.settings), step.name) for point, step in itertools.product(points, LADDER)]
    if not budgets_open:
        return list(points)
    chosen = {point: spread_budgets(session.budget(point.settings)) for point in points}
    return [replace(point, settings=replace(point.settings, ram=size)) for point in points for size in chosen[point]]


def schedule(jobs: Sequence[_T], repeats: int) -> Iterator[tuple[int, _T]]:
    """(repeat, job): A B C, C B A, A B C, … so that a device that warms up favours none."""
    for repeat in range(repeats):
        yield from ((repeat, job) for job in (jobs if repeat % 2 == 0 else reversed(jobs)))


def measure(
    session: Session, jobs: Sequence[Job], repeats: int, folder: Path, progress: Progress, cooling: CoolingDown,
    trace: bool = False,
) -> list[Measured]:  # fmt: skip
    """Every job `repeats` times, after a warm-up. Runs that `folder` holds already, of just this package, device,
    versions, settings and workload, are read, not measured again. `trace`: each run's trace lies beside it; such runs
    are others than those without.
    """
    if isinstance(session.runner, Runner):
        session.runner.note[OWNER] = owner()
        for name in end_orphans(session.runner.device):
            progress.note(f"ended run {name} of a profile that was killed")
    known = session.conditions()
    device = {name: known.get(name) for name in _IDENTITY}
    planned = [
        (repeat, job, folder / _file_name(session, device, job, repeat, trace))
        for repeat, job in schedule(jobs, repeats)
    ]
    missing = [job for _, job, path in planned if not path.exists()]
    found: list[Measured] = []
    with progress.step("profile", len(planned), "runs") as advance:
        start = Heat.of(known)
        if missing and not start.comparable(start):
            progress.note(f"{session.device} tells no heat, so no run waits for it to cool down")
        # By the smallest budget: one that is too small is refused before anything is measured.
        warmed = warm_up(session, min(missing, key=_ram), progress) if missing else None
        predicted = predictions(session, known, missing, progress) if missing else {}
        for repeat, job, path in planned:
            if path.exists():
                found.append(Measured(read_run(path), path))
            else:
                cooled, before = cooling.wait(start, session.conditions, progress)
                progress.note(f"run {len(found) + 1} of {len(planned)}: {job.label}")
                with traced(session, path.with_suffix(TRACE_SUFFIX) if trace else None, progress) as keys:
                    run = measure_one(session, job, repeat, before, keys)
                seen = predicted.get(job.point.settings)
                run = run.model_copy(update={"warm_up": warmed, "cool_down": cooled, "predicted": seen})
                write_run(run, path)
                if not run.budget_changes:
                    learn(session, run)
                found.append(Measured(run, path))
            advance(1)
    if kept := len(planned) - len(missing):
        progress.note(f"{kept} of {len(found)} runs were in {folder} already; remove it to measure them again")
    return found


def warm_up(session: Session, job: Job, progress: Progress) -> WarmUp:
    """A short run that counts for nothing: it loads programs and wakes the processor up, at nobody's expense."""
    progress.note(f"warm-up: {job.label}")
    ids, new = job.workload.prompt_ids[:WARM_UP_PROMPT_TOKENS], min(WARM_UP_NEW_TOKENS, job.workload.max_new_tokens)
    settings = replace(settings_of(job), max_new_tokens=new)
    started = _now()
    made = session.generate(settings, ids)
    return WarmUp(
        started=started.isoformat(timespec="seconds"),
        asked=settings.asked(),
        prompt_tokens=len(ids),
        tokens=made.result.tokens,
        wall_us=made.prefill.wall_us + made.result.totals.wall_us,
    )


def predictions(
    session: Session, known: Mapping[str, Any], jobs: Sequence[Job], progress: Progress
) -> dict[RunSettings, Predicted]:
    """What each point is expected to take, before the first is measured. Where the device has never run the package,
    a run at the largest budget, which counts for nothing else, tells how fast it computes: a whole one, since attention
    takes longer the more tokens there are.
    """
    if why := unpredictable(session):
        progress.note(f"nothing is predicted: {why}")
        return {}
    if not ran_before(session, known):
        for job in _calibrating(jobs):
            progress.note(f"learning how fast the device computes: {job.label}")
            learn(session, measure_one(session, job, 0, dict(known)))
    return predict_points(session, known, [job.point.settings for job in jobs])


def _calibrating(jobs: Sequence[Job]) -> list[Job]:
    """Of jobs that compute alike, the one with the largest budget: reads disturb computing least there."""
    alike: dict[tuple[Any, ...], Job] = {}
    for job in sorted(jobs, key=_ram):
        settings = job.point.settings
        if settings.residency in (None, "cached"):
            alike[settings.backend, settings.predictor, settings.kv, settings.overlap, settings.threads] = job
    return list(alike.values())


def measure_one(
    session: Session, job: Job, repeat: int, before: dict[str, Any], keys: Mapping[str, str] = NO_KEYS
) -> Run:
    """`keys`: for the runner, besides the settings."""
    settings = settings_of(job)
    started = _now()
    generation = session.generate(settings, job.workload.prompt_ids, keys=keys)
    return make_run(session, settings, job.workload, generation, started, before, repeat, job.point.ladder_step)


def make_run(
    session: Session,
    settings: RunSettings,
    workload: Workload,
    generation: Generation,
    started: datetime,
    before: dict[str, Any],
    repeat: int = 0,
    ladder_step: str | None = None,
) -> Run:
    """The record of a generation that has just ended. `before`: the device's conditions when it started."""
    return Run(
        started=started.isoformat(timespec="seconds"),
        device=session.device,
        repeat=repeat,
        ladder_step=ladder_step,
        package=session.package_ref(),
        workload=workload,
        asked=settings.asked(),
        ready=generation.ready,
        prefill=generation.prefill,
        tokens=generation.tokens,
        budget_changes=generation.budget_changes,
        result=generation.result,
        conditions_before=before,
        conditions_after=session.conditions(),
        versions=session.versions(),
    )


def settings_of(job: Job) -> RunSettings:
    """What the runner is asked: end-of-text is ignored so that all runs have the same length."""
    return replace(job.point.settings, max_new_tokens=job.workload.max_new_tokens, ignore_eos=True)


def check_folder(folder: Path) -> None:
    """Raises InputError unless runs can be written there; asked before the first run."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give another with -o")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {folder}: {error.strerror}; give another with -o") from None


def _file_name(session: Session, device: Mapping[str, Any], job: Job, repeat: int, trace: bool) -> str:
    point = job.point
    identity = {
        "package": session.package_ref().sha256,
        "device": device,
        "versions": session.versions(),
        "settings": session.tuned(point.settings).asked(),
        "step": point.ladder_step,
        "workload": job.workload.model_dump(),
        **({"trace": True} if trace else {}),
        **({"draft": session.drafts[draft].manifest_sha256} if (draft := point.settings.draft) else {}),
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    words = [
        re.sub(r"[^A-Za-z0-9._-]+", "-", session.package.manifest.name)[:60],
        "ladder" if point.ladder_step else "",
    ]
    words += [format_bytes(point.settings.ram).replace(" ", "") if point.settings.ram else "resident"]
    return "-".join([*filter(None, words), digest, f"r{repeat}"]) + ".json"


def _ram(job: Job) -> float:
    """All resident is the largest."""
    ram = job.point.settings.ram
    return math.inf if ram is None else ram


def _now() -> datetime:
    return datetime.now(UTC)
