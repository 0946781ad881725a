"""What the runner is told about a device's NPU: its chip, and where the vendor's libraries lie once they are pushed."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from flashneuron.device.protocol import Device
from flashneuron.device.runner import Runner
from flashneuron.device.sync import push_folder
from flashneuron.errors import InputError
from flashneuron.package.schema import Manifest
from flashneuron.progress import Progress
from flashneuron.qnn import device_libraries, find_qnn


def npu_keys(
    device: Device, runner: Runner, manifest: Manifest, conditions: dict[str, Any], progress: Progress
) -> dict[str, str]:
    """The runner's keys `soc` and `npu_libraries`, as far as the device has a chip that the package is made for; pushes
    the libraries. Where this machine lacks them, says so, and the runner decides what that means.
    """
    if all(programs.contexts is None for programs in manifest.attention):
        return {}
    soc = conditions.get("soc")
    if not soc:
        return {}
    keys = {"soc": str(soc)}
    if f"qnn-{soc}".lower() not in {programs.backend for programs in manifest.attention}:
        return keys
    try:
        files = device_libraries(find_qnn(), str(conditions.get("abi")), str(soc))
    except InputError as error:
        progress.note(f"no libraries for the NPU: {error}")
        return keys
    folder: PurePosixPath = push_folder(device, "qnn", files, progress, "push the NPU's libraries", runner)
    return {**keys, "npu_libraries": str(folder)}
