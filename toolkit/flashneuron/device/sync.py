"""Bringing the runner and packages to a device.

The store, below the device's root:

    objects/SHA256            a file of any package, by content
    packages/SHA256/manifest.json   a package, by its manifest's content; written last
    runtime/HASH/             a runner and its libraries, by their contents
    runtime/qnn-HASH/         libraries of an NPU
    tmp/                      what is on its way

A file is pushed to tmp/, hashed there by the runner on the device, and renamed. So whatever has its final name is
whole, an interrupted push leaves no package, and the next push sends only what is not there yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flashneuron.device.parse import parse_df, parse_sizes
from flashneuron.device.protocol import Device, ShellResult
from flashneuron.device.runner import RUNNER, Runner
from flashneuron.device.runtime import find_runtime
from flashneuron.errors import DeviceError
from flashneuron.package.manifest import MANIFEST, Package
from flashneuron.progress import Progress
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
    _make_folders(device)
    _require_space(device, total)
    arriving = device.root / "tmp" / f"runtime-{name}"
    check(device.shell(["rm", "-rf", str(arriving)]), f"clear {arriving}")
    with progress.step(title, total, "B") as advance:
        for file, path in files.items():
            device.push(path, arriving / file, advance)
    if runner is None:
        check(device.shell(["chmod", "755", str(arriving / RUNNER)]), "make the runner executable")
        runner = Runner(device, arriving)
    for file, digest in hashes.items():
        _verify(runner, arriving / file, digest)
    check(device.shell(["mv", str(arriving), str(folder)]), f"rename {arriving}")
    return folder


def push_package(device: Device, package_dir: Path, progress: Progress, runner: Runner | None = None) -> PushedPackage:
    """The package of `package_dir` on the device; sends the files that its store does not hold.

    `runner` hashes what arrived; without it the runner is pushed first.
    """
    package = Package.open(package_dir)
    manifest = package.path_of(MANIFEST).read_bytes()
    identity = hashlib.sha256(manifest).hexdigest()
    folder, store = device.root / "packages" / identity, device.root / "objects"
    wanted = {entry.sha256: entry for entry in package.manifest.files}
    runner = runner or push_runner(device, progress)
    _make_folders(device)
    present = stored_sizes(device)
    missing = {digest: entry for digest, entry in wanted.items() if present.get(digest) != entry.bytes}
    missing_bytes = sum(entry.bytes for entry in missing.values())
    if missing:
        _require_space(device, missing_bytes)
        with progress.step(f"push {package.manifest.name}", missing_bytes, "B") as advance:
            for digest, entry in missing.items():
                with _arriving(device, digest) as part:
                    device.push(package.path_of(entry.path), part, advance)
                    _verify(runner, part, digest)
                    check(device.shell(["mv", "-f", str(part), str(store / digest)]), f"rename {part}")
        # On flash before the manifest says so; it also keeps the writing of these bytes out of what is measured next.
        check(device.shell(["sync"], timeout_s=_SLOW_S), "flush its storage")
    with _arriving(device, f"{identity}.manifest") as part:
        device.write(manifest, part)
        check(device.shell(["mkdir", "-p", str(folder)]), f"make {folder}")
        check(device.shell(["mv", "-f", str(part), str(folder / MANIFEST)]), f"rename {part}")
    total_bytes = sum(entry.bytes for entry in wanted.values())
    return PushedPackage(folder, store, identity, len(missing), missing_bytes, len(wanted), total_bytes)


def stored_sizes(device: Device) -> dict[str, int]:
    """SHA-256 → bytes of the objects on the device."""
    command = ["find", str(device.root / "objects"), "-type", "f", "-exec", "stat", "-c", "%s %n", "{}", "+"]
    return parse_sizes(check(device.shell(command), "list what it holds").text)


@contextmanager
def _arriving(device: Device, name: str) -> Iterator[PurePosixPath]:
    """A temporary name on the device; what still has it at the end is removed, as far as the device can be reached."""
    part = device.root / "tmp" / f"{name}.part"
    try:
        yield part
    except BaseException:
        with suppress(DeviceError):
            device.shell(["rm", "-f", str(part)])
        raise


def _make_folders(device: Device) -> None:
    folders = [str(device.root / name) for name in ("objects", "packages", "runtime", "tmp")]
    check(device.shell(["mkdir", "-p", *folders]), f"make its folder {device.root}")


def _require_space(device: Device, wanted_bytes: int) -> None:
    free = parse_df(check(device.shell(["df", "-k", str(device.root)]), "ask for its free storage").text)
    if free and free.free_bytes < wanted_bytes + _SPARE_BYTES:
        raise DeviceError(
            f"{device.name} has {format_bytes(free.free_bytes)} of storage free, {format_bytes(wanted_bytes)} and "
            f"{format_bytes(_SPARE_BYTES)} to spare are needed; free some there and push again"
        )


def hash_of(runner: Runner, path: PurePosixPath) -> str:
    """SHA-256 of a file on the device, as the runner there finds it."""
    for event in runner.events("hash", {"path": str(path)}):
        if event["event"] == "hash":
            return str(event.get("sha256"))
    raise DeviceError(f"the runner on {runner.device.name} did not say the hash of {path.name}")


def _verify(runner: Runner, path: PurePosixPath, sha256: str) -> None:
    if hash_of(runner, path) != sha256:
        raise DeviceError(f"{path.name} arrived on {runner.device.name} damaged; push again")


def check(result: ShellResult, what: str) -> ShellResult:
    """`what` completes "the device could not …"."""
    if result.exit_code != 0:
        said = result.stderr.decode("utf-8", "replace").strip().replace("\n", "; ")
        raise DeviceError(f"the device could not {what}: {said or f'exit code {result.exit_code}'}")
    return result


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
