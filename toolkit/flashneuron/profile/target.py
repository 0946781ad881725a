"""The device that a plan is made for: one that is here, or one whose flash curve is kept in a file."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from flashneuron.device.discover import open_device
from flashneuron.device.host import HostDevice
from flashneuron.device.info import conditions
from flashneuron.device.runner import Runner
from flashneuron.device.runtime import find_runtime
from flashneuron.errors import InputError
from flashneuron.package.manifest import MANIFEST, Package
from flashneuron.profile.flash_curve import FlashCurve, find_curve
from flashneuron.profile.plan import Target
from flashneuron.profile.rates import read_rates


def target_here(spec: str | None) -> Target:
    """Raises InputError for a device that was never probed, DeviceError for one that is not there."""
    device = open_device(spec)
    try:
        known, name = conditions(device), device.name
    finally:
        device.close()
    curve = find_curve(known)
    if curve is None:
        raise InputError(f"{name} was never probed; measure its flash first: flashneuron probe --device {name}")
    return target_of(known, curve)


def target_of_file(path: Path) -> Target:
    """Of a curve that `probe` has written. Raises InputError."""
    try:
        curve = FlashCurve.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError:
        raise InputError(f"{path} is not a flash curve; flashneuron probe writes them, and says where") from None
    return target_of(curve.conditions, curve)


def target_of(known: Mapping[str, Any], curve: FlashCurve) -> Target:
    if not curve.of_flash:
        why = curve.direct_io_why or "the kernel counted fewer bytes from storage than were read"
        raise InputError(f"the curve of {known.get('device')} is not its flash's ({why}); no plan follows from it")
    return Target(str(known.get("device")), curve, read_rates(known), int(known.get("cores") or 1))


def local_runner() -> Runner:
    """The runner of this machine, in place: a replay needs no device."""
    return Runner(HostDevice(), PurePosixPath(find_runtime(platform.machine())))


def local_place(package: Package) -> tuple[dict[str, str], str]:
    """The runner's keys for a package where it lies here, and its identity."""
    manifest = package.read(MANIFEST)
    return {"package": str(package.folder.absolute())}, hashlib.sha256(manifest).hexdigest()
