"""The trace of a run: made by the runner (PROTOCOL.md, "Trace"), then a file here that says of what device it is."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flashneuron.errors import DeviceError, FlashneuronError, InputError
from flashneuron.package.atomic import atomic_path
from flashneuron.profile.session import NO_KEYS, Session
from flashneuron.progress import Progress


def check_trace_file(file: Path) -> None:
    """Errors: InputError, before anything runs."""
    if file.exists() and not file.is_file():
        raise InputError(f"{file} is not a file; name another for --trace")
    if not file.absolute().parent.is_dir():
        raise InputError(f"{file.absolute().parent} is not a folder; make it, or name another file for --trace")


@contextmanager
def traced(session: Session, file: Path | None, progress: Progress) -> Iterator[Mapping[str, str]]:
    """The runner's keys for one generation; where the block ends well, `file` is its trace. No file: no trace."""
    if file is None:
        yield NO_KEYS
        return
    check_trace_file(file)
    link = session.link
    if link is None:
        raise DeviceError(f"{session.device} cannot send files; run without --trace")
    remote = link.root / "tmp" / f"{uuid.uuid4().hex}.trace"
    folder = file.absolute().parent
    try:
        arriving = Path(tempfile.mkdtemp(prefix=f"{file.name}.", suffix=".tmp", dir=folder))
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; name another file for --trace") from None
    try:
        yield {"trace": str(remote)}
        link.pull(remote, arriving / "trace")
        dropped = _complete(arriving / "trace", file, session)
    finally:
        shutil.rmtree(arriving, ignore_errors=True)
        with suppress(DeviceError):
            link.shell(["rm", "-f", str(remote), f"{remote}.tmp"])
    if dropped:
        progress.note(f"{file} lacks {dropped} spans of the end of the run: trace fewer tokens to see all")


def _complete(made: Path, file: Path, session: Session) -> int:
    """What the runner made, with what only the host knows, as `file`. Returns how many spans it lacks."""
    conditions = session.conditions()
    emulated = conditions.get("emulated")
    known: dict[str, Any] = {
        "package_sha256": session.package_ref().sha256,
        "synthetic": session.package.manifest.synthetic,
        "device": session.device,
        "emulated": emulated is not None,
        "conditions": conditions,
        "versions": session.versions(),
    }
    try:
        with made.open("rb") as source, atomic_path(file) as partial, partial.open("wb") as target:
            other = json.loads(source.readline().rstrip().removesuffix(b",") + b"}")["otherData"]
            target.write(json.dumps({"otherData": other | known}).removesuffix("}").encode() + b",\n")
            target.write(source.readline())  # up to the first event
            if isinstance(emulated, dict):
                label = f"emulated phone {emulated.get('profile', session.device)}"
                event = {"ph": "M", "name": "process_labels", "pid": 1, "args": {"labels": label}}
                target.write(json.dumps(event).encode() + b",\n")
            shutil.copyfileobj(source, target, 1 << 20)
            return int(other["dropped_spans"])
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror}; name another file for --trace") from None
    except (ValueError, KeyError, TypeError):
        raise FlashneuronError(
            "the runner's trace breaks its protocol; rebuild the runner: flashneuron runtime build"
        ) from None
