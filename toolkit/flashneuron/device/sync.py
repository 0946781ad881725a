"""Bringing the runner and packages to a device.

The store, below the device's root:

    objects/SHA256            a file of any package, by content
    packages/SHA256/manifest.json   a package, by its manifest's content; written last
    runtime/HASH/             a runner and its libraries, by their contents
    runtime/qnn-HASH/         libraries of an NPU
    tmp/                      what is on its way
    verified, lock            what was hashed (objects.py); held by who changes any of this (store_lock.py)

A file is pushed to tmp/, hashed there by the runner on the device while it arrives, and renamed. So whatever has its
final name is whole, an interrupted push leaves no package, and the next push sends only what is not there yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flashneuron.device.abi import device_abi
from flashneuron.device.objects import (
    STORAGE,
    VERIFIED_PART,
    Objects,
    parse_objects,
    read_objects,
    reading,
    write_verified,
)
from flashneuron.device.parse import Storage
from flashneuron.device.protocol import Device
from flashneuron.device.runner import RUNNER, Runner
from flashneuron.device.runtime import find_runtime
from flashneuron.device.shell_result import check
from flashneuron.device.store_lock import locked
from flashneuron.device.transfer import ARRIVING, TAKE_UP, Transfer, damaged, sha256
from flashneuron.errors import DeviceError
from flashneuron.package.manifest import MANIFEST, Package
from flashneuron.package.schema import FileEntry
from flashneuron.progress import Progress
from flashneuron.units import format_bytes

_SPARE_BYTES = 32 * 1024 * 1024  # left free on the device: file system tables, logs, stdin files

# For read_objects and the like: $0 is the root, $1 a manifest's final place.
_MAKE_FOLDERS = 'mkdir -p "$0/objects" "$0/packages" "$0/runtime" "$0/tmp" || exit 1; '
# What pushes left that were killed. Precondition: the store is locked.
_CLEAR = 'find "$0/tmp" -maxdepth 1 -name "*.part" -exec rm -rf {} + || exit 1; '
_FLUSH = f'rm -rf "$0/{ARRIVING}"; sync; '
# Prints the manifest. $2: its temporary place, $3: its identity.
_SHOW = f'mv -f "$0/{VERIFIED_PART}" "$0/verified" && mkdir -p "$0/packages/$3" && mv -f "$0/$2" "$0/$1" && cat "$0/$1"'


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
    local = find(device_abi(device))
    files = {path.relative_to(local).as_posix(): path for path in sorted(local.rglob("*")) if path.is_file()}
    return Runner(device, push_folder(device, "", files, progress, "push the runner"))


def push_folder(
    device: Device, kind: str, files: Mapping[str, Path], progress: Progress, title: str, runner: Runner | None = None
) -> PurePosixPath:
    """A folder below runtime/ with these files, by their contents; sent only if it is not there yet. `runner` hashes
    what arrived; without it, one that is among the files.
    """
    hashes = {name: sha256(path) for name, path in files.items()}
    identity = hashlib.sha256("".join(f"{name}\0{digest}\n" for name, digest in hashes.items()).encode()).hexdigest()
    name = "-".join(filter(None, (kind, identity[:16])))
    folder = device.root / "runtime" / name
    if device.shell(["test", "-d", str(folder)]).exit_code == 0:
        return folder

    total = sum(path.stat().st_size for path in files.values())
    make_folders(device)
    with locked(device, *reading(device, STORAGE)) as read:
        _require_space(device, parse_objects(read).storage, total)
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
                raise damaged(device, files[file], digest)
        check(device.shell(["mv", str(arriving), str(folder)]), f"rename {arriving}")
    return folder


def push_package(device: Device, package_dir: Path, progress: Progress, runner: Runner | None = None) -> PushedPackage:
    """The package of `package_dir` on the device; sends the files that its store does not hold.

    `runner` hashes what arrives, and what was not verified as it lies there; without it the runner is pushed first.
    Files of this machine are compared by size alone: what is not as the manifest says fails when it has arrived.
    """
    package = Package.open(package_dir)
    manifest = package.path_of(MANIFEST).read_bytes()
    identity = hashlib.sha256(manifest).hexdigest()
    wanted = {entry.sha256: entry for entry in package.manifest.files}
    runner = runner or push_runner(device, progress)
    final = f"packages/{identity}/{MANIFEST}"
    seen = read_objects(device, _MAKE_FOLDERS, final)
    missing = dict[str, FileEntry]()
    if seen.manifest != manifest or seen.unverified(wanted):
        with locked(device, *reading(device, _CLEAR + STORAGE)) as read:
            seen = parse_objects(read)
            missing = _missing(device, runner, seen, wanted, progress)
            arrived = _send(device, runner, package, missing, seen, progress)
            _finish(device, package, wanted, manifest, identity, arrived)
    sent_bytes, total_bytes = (sum(entry.bytes for entry in each.values()) for each in (missing, wanted))
    folder, store = device.root / "packages" / identity, device.root / "objects"
    return PushedPackage(folder, store, identity, len(missing), sent_bytes, len(wanted), total_bytes)


def _missing(
    device: Device, runner: Runner, objects: Objects, wanted: Mapping[str, FileEntry], progress: Progress
) -> dict[str, FileEntry]:
    """What has to be sent: what is not there, or turns out to be damaged."""
    sizes, doubtful, missing = objects.sizes, list[str](), dict[str, FileEntry]()
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


def _send(
    device: Device,
    runner: Runner,
    package: Package,
    missing: Mapping[str, FileEntry],
    seen: Objects,
    progress: Progress,
) -> list[str]:
    """Returns what awaits its final name (transfer.py)."""
    if not missing:
        return []
    total = sum(entry.bytes for entry in missing.values())
    _require_space(device, seen.storage, total)
    files = {digest: (package.path_of(entry.path), entry.bytes) for digest, entry in missing.items()}
    with progress.step(f"push {package.manifest.name}", total, "B") as advance:
        return Transfer(device, runner, files, advance).run()


def _finish(
    device: Device,
    package: Package,
    wanted: Mapping[str, FileEntry],
    manifest: bytes,
    identity: str,
    arrived: Sequence[str],
) -> None:
    """The record of what was hashed, and the manifest, once all that it names is on flash. What a device says that it
    did is asked for once more: a link may damage its answers too.
    """
    part, final = f"tmp/{identity}.manifest.part", f"packages/{identity}/{MANIFEST}"
    device.write(manifest, device.root / part)
    # The flush also keeps the writing out of what is measured next.
    now = read_objects(device, (TAKE_UP if arrived else "") + _FLUSH, part, *arrived)
    if now.manifest != manifest:
        raise DeviceError(f"the manifest arrived on {device.name} damaged; push again")
    not_whole = DeviceError(f"{package.manifest.name} is not whole on {device.name} after the push; push again")
    if any(now.sizes.get(digest) != entry.bytes for digest, entry in wanted.items()):
        raise not_whole
    write_verified(device, now, wanted)
    shown = device.shell(["sh", "-c", _SHOW, str(device.root), final, part, identity])
    if check(shown, "show the package").stdout != manifest:
        raise not_whole


def make_folders(device: Device) -> None:
    check(device.shell(["sh", "-c", _MAKE_FOLDERS, str(device.root)]), f"make its folder {device.root}")


def _require_space(device: Device, storage: Storage | None, wanted_bytes: int) -> None:
    if storage and storage.free_bytes < wanted_bytes + _SPARE_BYTES:
        raise DeviceError(
            f"{device.name} has {format_bytes(storage.free_bytes)} of storage free, {format_bytes(wanted_bytes)} and "
            f"{format_bytes(_SPARE_BYTES)} to spare are needed; free some there and push again"
        )


def hashes_of(runner: Runner, paths: Sequence[PurePosixPath]) -> dict[PurePosixPath, str]:
    """SHA-256 of files on the device, as the runner there finds them."""
    names = "".join(f"{path}\n" for path in paths).encode()
    found = {str(event.get("path")): str(event.get("sha256")) for event in runner.events("hash", {}, names)}
    if missing := [path.name for path in paths if str(path) not in found]:
        raise DeviceError(f"the runner on {runner.device.name} did not say the hash of {missing[0]}")
    return {path: found[str(path)] for path in paths}
