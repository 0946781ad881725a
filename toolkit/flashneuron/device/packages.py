"""The packages that a device's store holds (sync.py says how they lie there): what they are, whether they are sound,
and their removal.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flashneuron.device.detached import list_runs
from flashneuron.device.objects import add_verified, read_objects, remove_objects
from flashneuron.device.protocol import Device
from flashneuron.device.runner import Runner
from flashneuron.device.shell_result import check
from flashneuron.device.store_lock import locked
from flashneuron.device.sync import hashes_of
from flashneuron.errors import DeviceError, InputError, PackageError
from flashneuron.package.manifest import MANIFEST, parse_manifest
from flashneuron.progress import Progress

_IDENTITY = re.compile(r"[0-9a-f]{64}")
_SHOWN = 12  # digits of an identity, for people


@dataclass(frozen=True)
class StoredPackage:
    identity: str  # SHA-256 of its manifest
    name: str  # as its manifest says; of a manifest that cannot be read: its identity
    objects: Mapping[str, int]  # SHA-256 → bytes of its files
    missing: int  # of them, how many are not there, or not with their size
    defect: str | None = None  # of its manifest

    @property
    def total_bytes(self) -> int:
        return sum(self.objects.values())

    @property
    def short_identity(self) -> str:
        return self.identity[:_SHOWN]

    @property
    def state(self) -> str:
        """For people."""
        return self.defect or (f"{self.missing} files missing" if self.missing else "complete")


@dataclass(frozen=True)
class Store:
    packages: Sequence[StoredPackage]
    present: Mapping[str, int]  # SHA-256 → bytes of everything that is there

    @property
    def unused(self) -> dict[str, int]:
        """What no package needs: left by pushes that were interrupted, or by removals."""
        used = {digest for each in self.packages for digest in each.objects}
        return {digest: size for digest, size in self.present.items() if digest not in used}

    def only_of(self, package: StoredPackage) -> dict[str, int]:
        """Of what is there, what this package alone needs."""
        others = (each for each in self.packages if each.identity != package.identity)
        own = package.objects.keys() - {digest for each in others for digest in each.objects}
        return {digest: size for digest, size in self.present.items() if digest in own}

    def find(self, wanted: str) -> StoredPackage:
        """By name, or by the first digits of its identity. Errors: InputError that says what there is."""
        by_name = [package for package in self.packages if package.name == wanted]
        by_identity = [package for package in self.packages if len(wanted) >= 4 and package.identity.startswith(wanted)]
        found = by_name or by_identity
        if len(found) == 1:
            return found[0]
        there = ", ".join(f"{package.name} ({package.short_identity})" for package in found or self.packages)
        if found:
            raise InputError(f"{wanted} is the name of {len(found)} packages: {there}; say which by its id")
        raise InputError(f"no package {wanted} is there; there are: {there or 'none'}")


def read_store(device: Device) -> Store:
    """Errors: DeviceError."""
    folder = device.root / "packages"
    if device.shell(["test", "-d", str(folder)]).exit_code != 0:
        return Store((), {})
    present = read_objects(device).sizes
    names = sorted(check(device.shell(["ls", "-A", str(folder)]), "list its packages").text.split())
    return Store([_read_package(device, name, present) for name in names if _IDENTITY.fullmatch(name)], present)


def verify_package(device: Device, runner: Runner, package: StoredPackage, progress: Progress) -> list[str]:
    """Hashes on the device what is there of the package. Files that are damaged are removed, so that the next push
    sends them; returns their SHA-256, and that of files that were not there. Errors: DeviceError.
    """
    with locked(device):
        present, damaged = read_objects(device).sizes, list[str]()
        with progress.step(f"verify {package.name}", package.total_bytes, "B") as advance:
            for digest, size in package.objects.items():
                path = device.root / "objects" / digest
                if present.get(digest) != size or hashes_of(runner, [path])[path] != digest:
                    damaged.append(digest)
                advance(size)
        remove_objects(device, [digest for digest in damaged if digest in present])
        add_verified(device, package.objects.keys() - set(damaged))
    return damaged


def remove_package(device: Device, package: StoredPackage) -> int:
    """Removes the package and the files that it alone needs; returns the bytes that became free. Errors: DeviceError,
    also while a run uses it.
    """
    with locked(device):
        for run in list_runs(device):
            used = [run.request.get("package"), *run.request.get("drafts", ())]
            if run.is_running and package.identity in used:
                how = "wait for it, or end it by 'flashneuron attach --stop'"
                raise DeviceError(f"{package.name} is in use by run {run.name} on {device.name}; {how}")
        # Read under the lock: what other computers pushed until now may need the same files.
        store = read_store(device)
        _require_known(device, store, package.identity)
        leaving = store.only_of(package)
        check(device.shell(["rm", "-rf", str(device.root / "packages" / package.identity)]), f"remove {package.name}")
        remove_objects(device, leaving)
    return sum(leaving.values())


def remove_unused(device: Device) -> int:
    """Removes the files that no package needs. Returns the bytes that became free. Errors: DeviceError."""
    with locked(device):
        store = read_store(device)
        _require_known(device, store)
        remove_objects(device, store.unused)
    return sum(store.unused.values())


def _require_known(device: Device, store: Store, but: str | None = None) -> None:
    """Of a package whose manifest cannot be read nobody knows the files, so none may be taken for unused."""
    for package in store.packages:
        if package.defect and package.identity != but:
            how = f"push it again, or remove it first: flashneuron packages remove {package.short_identity}"
            raise DeviceError(f"{package.short_identity} on {device.name} has a manifest that cannot be read; {how}")


def _read_package(device: Device, identity: str, present: Mapping[str, int]) -> StoredPackage:
    path = device.root / "packages" / identity / MANIFEST
    content = device.shell(["cat", str(path)]).stdout
    if hashlib.sha256(content).hexdigest() != identity:
        return StoredPackage(identity, identity[:_SHOWN], {}, 0, "damaged manifest: push it again, or remove it")
    try:
        manifest = parse_manifest(content, identity[:_SHOWN])
    except PackageError as error:
        return StoredPackage(identity, identity[:_SHOWN], {}, 0, str(error))
    objects = {entry.sha256: entry.bytes for entry in manifest.files}
    missing = sum(present.get(digest) != size for digest, size in objects.items())
    return StoredPackage(identity, manifest.name, objects, missing)
