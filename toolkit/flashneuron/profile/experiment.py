"""Many runs, one after the other, each kept as soon as it is measured: an interrupted profile goes on where it was."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flashneuron.errors import InputError
from flashneuron.profile.ladder import LADDER
from flashneuron.profile.run_file import TRACE_SUFFIX, Run, Workload, read_run, write_run
from flashneuron.profile.session import NO_KEYS, Generation, Session
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.trace import traced
from flashneuron.progress import Progress
from flashneuron.units import format_bytes

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


def with_budgets(points: Sequence[Point], budgets: Callable[[Point], Sequence[int]]) -> list[Point]:
    """Every point at the budgets chosen for it, in bytes."""
    return [replace(point, settings=replace(point.settings, ram=size)) for point in points for size in budgets(point)]


def with_ladder(points: Sequence[Point]) -> list[Point]:
    return [Point(step.apply(point.settings), step.name) for point, step in itertools.product(points, LADDER)]


def schedule(points: Sequence[Point], repeats: int) -> Iterator[tuple[int, Point]]:
    """(repeat, point): A B C, C B A, A B C, … so that a device that warms up favours no point."""
    for repeat in range(repeats):
        yield from ((repeat, point) for point in (points if repeat % 2 == 0 else reversed(points)))


def measure(
    session: Session, points: Sequence[Point], workload: Workload, repeats: int, folder: Path, progress: Progress,
    trace: bool = False,
) -> list[Run]:  # fmt: skip
    """Every point `repeats` times. Runs that `folder` holds already, of just this package, device, versions, settings
    and workload, are read, not measured again. `trace`: each run's trace lies beside it; such runs are others than
    those without."""
    known = session.conditions()
    device = {name: known.get(name) for name in _IDENTITY}
    runs, kept = [], 0
    with progress.step("profile", len(points) * repeats, "runs") as advance:
        for repeat, point in schedule(points, repeats):
            path = folder / _file_name(session, device, point, workload, repeat, trace)
            if path.exists():
                runs.append(read_run(path))
                kept += 1
            else:
                progress.note(f"run {len(runs) + 1} of {len(points) * repeats}: {point.label}")
                with traced(session, path.with_suffix(TRACE_SUFFIX) if trace else None, progress) as keys:
                    runs.append(measure_one(session, point, workload, repeat, keys))
                write_run(runs[-1], path)
            advance(1)
    if kept:
        progress.note(f"{kept} of {len(runs)} runs were in {folder} already; remove it to measure them again")
    return runs


def measure_one(
    session: Session, point: Point, workload: Workload, repeat: int, keys: Mapping[str, str] = NO_KEYS
) -> Run:
    """`keys`: for the runner, besides the settings."""
    settings = settings_of(point, workload)
    started, before = datetime.now(UTC), session.conditions()
    generation = session.generate(settings, workload.prompt_ids, keys=keys)
    return make_run(session, settings, workload, generation, started, before, repeat, point.ladder_step)


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
        result=generation.result,
        conditions_before=before,
        conditions_after=session.conditions(),
        versions=session.versions(),
    )


def settings_of(point: Point, workload: Workload) -> RunSettings:
    """What the runner is asked: end-of-text is ignored so that all runs have the same length."""
    return replace(point.settings, max_new_tokens=workload.max_new_tokens, ignore_eos=True)


def check_folder(folder: Path) -> None:
    """Raises InputError unless runs can be written there; asked before the first run."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give another with -o")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {folder}: {error.strerror}; give another with -o") from None


def _file_name(
    session: Session, device: Mapping[str, Any], point: Point, workload: Workload, repeat: int, trace: bool
) -> str:
    identity = {
        "package": session.package_ref().sha256,
        "device": device,
        "versions": session.versions(),
        "settings": session.tuned(point.settings).asked(),
        "step": point.ladder_step,
        "workload": workload.model_dump(),
        **({"trace": True} if trace else {}),
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    words = [
        re.sub(r"[^A-Za-z0-9._-]+", "-", session.package.manifest.name)[:60],
        "ladder" if point.ladder_step else "",
    ]
    words += [format_bytes(point.settings.ram).replace(" ", "") if point.settings.ram else "resident"]
    return "-".join([*filter(None, words), digest, f"r{repeat}"]) + ".json"
