"""Bringing the runner and packages to a device.

The store, below the device's root:

    objects/SHA256            a file of any package, by content
    packages/SHA256/manifest.json   a package, by its manifest's content; written last
    runtime/HASH/             a runner and its libraries, by their contents
    runtime/qnn-HASH/         libraries of an NPU
    tmp/                      what is on its way
    verified, lock            what was hashed (objects.py); held by who changes any of this (store_lock.py)

A file is pushed to tmp/, hashed there by the runner on the device, and renamed. So whatever has its final name is
whole, an interrupted push leaves no package, and the next push sends only what is not there yet.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flashneuron.device.objects import add_verified, read_objects
from flashneuron.device.parse import parse_df
from flashneuron.device.protocol import Device
from flashneuron.device.runner import RUNNER, Runner
from flashneuron.device.runtime import find_runtime
from flashneuron.device.shell_result import check
from flashneuron.device.store_lock import locked
from flashneuron.errors import DeviceError
from flashneuron.package.manifest import MANIFEST, Package
from flashneuron.package.schema import FileEntry
from flashneuron.progress import Advance, Progress
from flashneuron.units import format_bytes

_SPARE_BYTES = 32 * 1024 * 1024  # left free on the device: file system tables, logs, stdin files
_SLOW_S = 600.0


@dataclass(frozen=True)
class PushedPackage:
    """A package on a device: the runner's keys `package` and `store`. `sent_bytes` travelled, the rest was there."""

    folder: PurePosixPath
    store: PurePosixPath
    manifest_sha256: str
    sent_files: int
    sent_bytes: int
    total_files: int
    total_bytes: int


def push_runner(device: Device, progress: Progress, find: Callable[[str], Path] = find_runtime) -> Runner:
    """The runner for the device's ABI, from `find`, on the device; sent only if it is not there yet."""
    abi = check(device.shell(["uname", "-m"]), "ask for the device's ABI").text.strip()
    local = find(abi)
    files = {path.relative_to(local).as_posix(): path for path in sorted(local.rglob("*")) if path.is_file()}
    return Runner(device, push_folder(device, "", files, progress, "push the runner"))


def push_folder(
    device: Device, kind: str, files: Mapping[str, Path], progress: Progress, title: str, runner: Runner | None = None
) -> PurePosixPath:
    """A folder below runtime/ with these files, by their contents; sent only if it is not there yet. `runner` hashes
    what arrived; without it, one that is among the files.
    """
    hashes = {name: _sha256(path) for name, path in files.items()}
    identity = hashlib.sha256("".join(f"{name}\0{digest}\n" for name, digest in hashes.items()).encode()).hexdigest()
    name = "-".join(filter(None, (kind, identity[:16])))
    folder = device.root / "runtime" / name
    if device.shell(["test", "-d", str(folder)]).exit_code == 0:
        return folder

    total = sum(path.stat().st_size for path in files.values())
    make_folders(device)
    with locked(device):
        _require_space(device, total)
        arriving = device.root / "tmp" / f"runtime-{name}.part"
        check(device.shell(["rm", "-rf", str(arriving), str(folder)]), f"clear {arriving}")
        with progress.step(title, total, "B") as advance:
            for file, path in files.items():
                device.push(path, arriving / file, advance)
        if runner is None:
            check(device.shell(["chmod", "755", str(arriving / RUNNER)]), "make the runner executable")
            runner = Runner(device, arriving)
        found = hashes_of(runner, [arriving / file for file in files])
        for file, digest in hashes.items():
            if found[arriving / file] != digest:
                raise _damaged(device, files[file], digest)
        check(device.shell(["mv", str(arriving), str(folder)]), f"rename {arriving}")
    return folder


def push_package(device: Device, package_dir: Path, progress: Progress, runner: Runner | None = None) -> PushedPackage:
    """The package of `package_dir` on the device; sends the files that its store does not hold.

    `runner` hashes what arrived, and what was not verified as it lies there; without it the runner is pushed first.
    Files of this machine are compared by size alone: what is not as the manifest says fails when it has arrived.
    """
    package = Package.open(package_dir)
    manifest = package.path_of(MANIFEST).read_bytes()
    identity = hashlib.sha256(manifest).hexdigest()
    folder, store = device.root / "packages" / identity, device.root / "objects"
    wanted = {entry.sha256: entry for entry in package.manifest.files}
    runner = runner or push_runner(device, progress)
    make_folders(device)
    sent = list[FileEntry]()
    known = device.shell(["cat", str(folder / MANIFEST)]).stdout == manifest
    if not known or read_objects(device).unverified(wanted):
        with locked(device):
            _clear_arriving(device)
            missing = _missing(device, runner, wanted, progress)
            sent += missing.values()
            if missing:
                total = sum(entry.bytes for entry in sent)
                _require_space(device, total)
                with progress.step(f"push {package.manifest.name}", total, "B") as advance:
                    _send(device, runner, package, missing, advance)
                # On flash before the manifest says so; it also keeps the writing out of what is measured next.
                check(device.shell(["sync"], timeout_s=_SLOW_S), "flush its storage")
            add_verified(device, wanted)
            _require_whole(device, package, wanted)
            part = device.root / "tmp" / f"{identity}.manifest.part"
            device.write(manifest, part)
            if device.shell(["cat", str(part)]).stdout != manifest:
                raise DeviceError(f"the manifest arrived on {device.name} damaged; push again")
            check(device.shell(["mkdir", "-p", str(folder)]), f"make {folder}")
            check(device.shell(["mv", "-f", str(part), str(folder / MANIFEST)]), f"rename {part}")
            if device.shell(["cat", str(folder / MANIFEST)]).stdout != manifest:
                raise DeviceError(f"the manifest of {package.manifest.name} is not on {device.name}; push again")
    sent_bytes, total_bytes = sum(entry.bytes for entry in sent), sum(entry.bytes for entry in wanted.values())
    return PushedPackage(folder, store, identity, len(sent), sent_bytes, len(wanted), total_bytes)


def _require_whole(device: Device, package: Package, wanted: Iterable[str]) -> None:
    """What a device says that it did is asked for once more: a link may damage its answers too."""
    if read_objects(device).unverified(wanted):
        raise DeviceError(f"{package.manifest.name} is not whole on {device.name} after the push; push again")


def _missing(
    device: Device, runner: Runner, wanted: Mapping[str, FileEntry], progress: Progress
) -> dict[str, FileEntry]:
    """What has to be sent: what is not there, or turns out to be damaged."""
    objects, missing = read_objects(device), dict[str, FileEntry]()
    sizes, doubtful = objects.sizes, list[str]()
    for digest in objects.unverified(wanted):
        if sizes.get(digest) == wanted[digest].bytes:
            doubtful.append(digest)
        else:
            missing[digest] = wanted[digest]
    if doubtful:
        with progress.step("verify what is there", sum(wanted[digest].bytes for digest in doubtful), "B") as advance:
            for digest in doubtful:
                path = device.root / "objects" / digest
                if hashes_of(runner, [path])[path] != digest:
                    missing[digest] = wanted[digest]
                advance(wanted[digest].bytes)
    return missing


def _send(device: Device, runner: Runner, package: Package, missing: Mapping[str, FileEntry], advance: Advance) -> None:
    """Several at a time; what has arrived is hashed and renamed while others travel. The first failure ends them all;
    what has no final name then is removed, as far as the device can be reached.
    """
    stop, counting = threading.Event(), threading.Lock()
    arriving = device.root / "tmp" / "package.part"

    def counted(done: float) -> None:
        if stop.is_set():
            raise _StoppedError
        with counting:
            advance(done)

    def send(digest: str) -> str:
        if stop.is_set():
            raise _StoppedError
        device.push(package.path_of(missing[digest].path), arriving / digest, counted)
        return digest

    largest_first = sorted(missing, key=lambda digest: -missing[digest].bytes)  # none travels alone at the end
    try:
        with ThreadPoolExecutor(device.parallel_streams) as pool:
            travelling = {pool.submit(send, digest) for digest in largest_first}
            try:
                while travelling:
                    arrived, travelling = wait(travelling, return_when=FIRST_COMPLETED)
                    _take_up(device, runner, package, missing, [arriving / each.result() for each in arrived])
            except BaseException:
                stop.set()
                raise
    finally:
        with suppress(DeviceError):
            device.shell(["rm", "-rf", str(arriving)])


def _take_up(
    device: Device,
    runner: Runner,
    package: Package,
    missing: Mapping[str, FileEntry],
    arrived: Sequence[PurePosixPath],
) -> None:
    """Gives files their final names, which are those they have, if their contents are what they are called after."""
    found = hashes_of(runner, arrived)
    for path in arrived:
        if found[path] != path.name:
            raise _damaged(device, package.path_of(missing[path.name].path), path.name)
    check(device.shell(["mv", "-f", *map(str, arrived), str(device.root / "objects")]), "rename what arrived")


class _StoppedError(Exception):
    """Another file has failed."""


def _damaged(device: Device, local: Path, sha256: str) -> DeviceError:
    if _sha256(local) != sha256:
        return DeviceError(f"{local} is not what its manifest says: it was changed or damaged; export or copy it again")
    return DeviceError(f"{local.name} arrived on {device.name} damaged; push again")


def _clear_arriving(device: Device) -> None:
    """What pushes left that were killed. Precondition: the store is locked."""
    command = ["find", str(device.root / "tmp"), "-maxdepth", "1", "-name", "*.part", "-exec", "rm", "-rf", "{}", "+"]
    check(device.shell(command), "clear its tmp folder")


def make_folders(device: Device) -> None:
    folders = [str(device.root / name) for name in ("objects", "packages", "runtime", "tmp")]
    check(device.shell(["mkdir", "-p", *folders]), f"make its folder {device.root}")


def _require_space(device: Device, wanted_bytes: int) -> None:
    free = parse_df(check(device.shell(["df", "-k", str(device.root)]), "ask for its free storage").text)
    if free and free.free_bytes < wanted_bytes + _SPARE_BYTES:
        raise DeviceError(
            f"{device.name} has {format_bytes(free.free_bytes)} of storage free, {format_bytes(wanted_bytes)} and "
            f"{format_bytes(_SPARE_BYTES)} to spare are needed; free some there and push again"
        )


def hashes_of(runner: Runner, paths: Sequence[PurePosixPath]) -> dict[PurePosixPath, str]:
    """SHA-256 of files on the device, as the runner there finds them."""
    names = "".join(f"{path}\n" for path in paths).encode()
    found = {str(event.get("path")): str(event.get("sha256")) for event in runner.events("hash", {}, names)}
    if missing := [path.name for path in paths if str(path) not in found]:
        raise DeviceError(f"the runner on {runner.device.name} did not say the hash of {missing[0]}")
    return {path: found[str(path)] for path in paths}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
