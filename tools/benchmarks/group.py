"""Runs a command in a memory cgroup of its own (version 1 or 2) and says what the kernel counted."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from flashneuron.emulator.blockdev import parse_mounts
from flashneuron.emulator.cgroup import Hierarchy, find_hierarchy, remove_group

BLOCK = 512  # bytes that getrusage counts in


@dataclass(frozen=True)
class Outcome:
    stdout: bytes
    peak_bytes: int | None  # RSS and page cache of the group at its largest; None without a cap
    limit_hits: int | None  # failcnt (version 1), or memory.events max and oom (version 2)
    read_bytes: int  # that the command fetched from storage


@contextmanager
def _memory_group(limit_bytes: int) -> Iterator[Hierarchy]:
    mounts = parse_mounts(Path("/proc/self/mountinfo").read_text())
    where = find_hierarchy("memory", mounts, Path("/proc/self/cgroup").read_text())
    if isinstance(where, str):
        raise SystemExit(f"bench: a memory cap is needed, but {where}; run as root on a system with control groups")
    folder = where.folder / f"flashneuron-{os.getpid()}-bench"
    try:
        if where.version == 2:
            (where.folder / "cgroup.subtree_control").write_text("+memory")
        folder.mkdir(exist_ok=True)
        group = Hierarchy(where.version, folder)
        if group.version == 1:
            (folder / "memory.limit_in_bytes").write_text(str(limit_bytes))
            with suppress(OSError):  # without swap accounting there is no such file
                (folder / "memory.memsw.limit_in_bytes").write_text(str(limit_bytes))
        else:
            (folder / "memory.max").write_text(str(limit_bytes))
            with suppress(OSError):
                (folder / "memory.swap.max").write_text("0")
        yield group
    except PermissionError as error:
        raise SystemExit(f"bench: cannot cap memory: {error}; run as root") from None
    finally:
        remove_group([folder])


def _peak(group: Hierarchy) -> tuple[int, int]:
    if group.version == 1:
        peak = int((group.folder / "memory.max_usage_in_bytes").read_text())
        return peak, int((group.folder / "memory.failcnt").read_text())
    peak = int((group.folder / "memory.peak").read_text())
    events = dict(line.split() for line in (group.folder / "memory.events").read_text().splitlines())
    return peak, int(events["max"]) + int(events["oom"])


def run(command: Sequence[str], limit_bytes: int | None, stdin: bytes = b"") -> Outcome:
    """The command's output. Raises SystemExit with its last words if it fails."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        source.write(stdin)
        source.seek(0)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock
        if limit_bytes is None:
            code, peak, hits = subprocess.call(command, stdin=source, stdout=output, stderr=errors), None, None
        else:
            with _memory_group(limit_bytes) as group:
                join = ["sh", "-c", 'echo 0 > "$0" && exec "$@"', str(group.folder / "cgroup.procs"), *command]
                code = subprocess.call(join, stdin=source, stdout=output, stderr=errors)
                peak, hits = _peak(group)
        read = (resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock - before) * BLOCK
        output.seek(0)
        said = output.read()
        if code != 0:
            errors.seek(0)
            words = (errors.read() or said).decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
            raise SystemExit(f"bench: {Path(command[0]).name} ended with {code}: {words[-1]}")
        return Outcome(said, peak, hits, read)


def evict(files: Sequence[Path]) -> None:
    """Drops the files' pages, so that what is read later comes from storage."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
