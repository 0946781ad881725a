"""A run whose operators ExecuTorch profiled: the ETDumps that the runner made (PROTOCOL.md, "Profile of operators"), in
a folder here with the run's own record, `run.json`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from flashneuron.errors import DeviceError, InputError
from flashneuron.package.atomic import atomic_write, sync_path
from flashneuron.profile.experiment import make_run
from flashneuron.profile.run_file import Run, Workload, read_run, write_run
from flashneuron.profile.session import NO_KEYS, Generation, OnToken, Session
from flashneuron.profile.settings import RunSettings

RUN, INDEX = "run.json", "dumps.json"
_RUNNERS_INDEX = "index.json"


@dataclass(frozen=True)
class Dump:
    """What one method of a program did in one phase."""

    phase: str  # prefill or decode
    program: str  # the package's file
    method: str
    file: str  # in the folder
    sha256: str  # of the program


def check_dump_folder(folder: Path) -> None:
    """Errors: InputError, before anything runs."""
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder} exists; name another folder for --etdump or remove it")
    if not folder.absolute().parent.is_dir():
        raise InputError(f"{folder.absolute().parent} is not a folder; make it, or name another for --etdump")


def generate(
    session: Session,
    settings: RunSettings,
    prompt_ids: list[int],
    on_token: OnToken,
    folder: Path | None,
    keys: Mapping[str, str] = NO_KEYS,
) -> Generation:
    """As session.generate; if there is a `folder` to make, profiled: it appears when all of it is there."""
    if folder is None:
        return session.generate(settings, prompt_ids, on_token, keys)
    check_dump_folder(folder)
    link = session.link
    if link is None:
        raise DeviceError(f"{session.device} cannot send files; run without --etdump")
    remote = link.root / "tmp" / f"{uuid.uuid4().hex}.etdump"
    started, before = datetime.now(UTC), session.conditions()
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".tmp", dir=folder.absolute().parent))
    try:
        made = session.generate(settings, prompt_ids, on_token, {**keys, "etdump": str(remote)})
        link.pull(remote / _RUNNERS_INDEX, partial / INDEX)
        hashes = {entry.path: entry.sha256 for entry in session.package.manifest.files}
        known = json.loads((partial / INDEX).read_bytes())["dumps"]
        dumps = [Dump(**entry, sha256=hashes[entry["program"]]) for entry in known]
        for dump in dumps:
            link.pull(remote / dump.file, partial / dump.file)
        atomic_write(partial / INDEX, json.dumps({"dumps": [asdict(dump) for dump in dumps]}, indent=1).encode())
        workload = Workload(
            source="run", prompt_ids=prompt_ids, max_new_tokens=settings.max_new_tokens or made.result.tokens
        )
        write_run(make_run(session, settings, workload, made, started, before), partial / RUN)
        partial.chmod(0o755)
        partial.rename(folder)
        sync_path(folder.absolute().parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with suppress(DeviceError):
            link.shell(["rm", "-rf", str(remote)])
    return made


def read_dumps(folder: Path) -> tuple[Run, list[Dump]]:
    """Errors: InputError that names the folder and what is wrong with it."""
    try:
        entries = json.loads((folder / INDEX).read_bytes())["dumps"]
        dumps = [Dump(**entry) for entry in entries]
    except OSError:
        raise InputError(f"{folder} has no {INDEX}; name a folder that flashneuron run --etdump made") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{folder / INDEX} is damaged; run again with --etdump") from None
    if not dumps:
        raise InputError(f"{folder} has no ETDumps; run again with --etdump")
    return read_run(folder / RUN), dumps
