"""A run that another call of the tool began."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import flashneuron
from flashneuron.device.detached import DetachedRun, remove, stdin_of
from flashneuron.device.protocol import Device
from flashneuron.device.run_events import events_of
from flashneuron.errors import InputError
from flashneuron.package.manifest import MANIFEST, Package
from flashneuron.profile.session import Generation, OnToken, Scores, collect_generation, collect_scores
from flashneuron.profile.text import TextCodec


def choose_run(runs: Sequence[DetachedRun], wanted: str | None, device: str) -> DetachedRun:
    """The one whose name begins so; else the one that runs, else the last. Errors: InputError."""
    if not runs:
        raise InputError(f"{device} has no runs to attach to")
    if wanted is None:
        return next((run for run in runs if run.is_running), runs[-1])
    found = [run for run in runs if run.name.startswith(wanted)]
    if len(found) != 1:
        raise InputError(f"{wanted} names {len(found)} runs of {device}; see flashneuron attach --list")
    return found[0]


def forget(device: Device, run: DetachedRun) -> list[str]:
    """Removes a run that has ended, with the files that it made for the call that began it; returns what those were
    (trace, etdump), since nobody has them now.
    """
    keys = run.request.get("keys")
    made = {name: keys[name] for name in ("trace", "etdump") if name in keys} if isinstance(keys, dict) else {}
    for name, value in made.items():
        path = PurePosixPath(str(value))
        if path.parent == device.root / "tmp" and path.suffix == f".{name}":
            device.shell(["rm", "-rf", str(path), f"{path}.tmp"])
    remove(device, run.name)
    return list(made)


@dataclass(frozen=True)
class Attached:
    """Its events come from their beginning, once."""

    device: Device
    run: DetachedRun
    package: Package
    prompt_ids: list[int]

    @classmethod
    def to(cls, device: Device, run: DetachedRun, folder: Path | None) -> Attached:
        """`folder`: its package; default: where it was when the run began. Errors: InputError, DeviceError."""
        version = run.request.get("version", "another version")
        if version != flashneuron.__version__ or run.request.get("verb") not in ("generate", "score"):
            raise InputError(
                f"run {run.name} was begun by flashneuron {version}, this is {flashneuron.__version__}; "
                f"attach with that one, or end it: flashneuron attach {run.name} --stop"
            )
        package = Package.open(folder or Path(str(run.request.get("local"))))
        if hashlib.sha256(package.read(MANIFEST)).hexdigest() != run.request.get("package"):
            raise InputError(f"{package.folder} is not the package of run {run.name}; name that by --package")
        first = stdin_of(device, run.name).partition(b"\n")[0]
        return cls(device, run, package, [int(word) for word in first.split()])

    @property
    def codec(self) -> TextCodec:
        return TextCodec.of(self.package)

    def generation(self, on_token: OnToken) -> Generation:
        return collect_generation(events_of(self.device, self.run.name, "generate"), on_token)

    def scores(self) -> Scores:
        return collect_scores(events_of(self.device, self.run.name, "score"), lambda tokens: None)
