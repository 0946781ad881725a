"""The runner as files on this machine: finding it for a device's ABI. runtime_build.py builds it."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import flashneuron
from flashneuron.device.abi import ANDROID_ARM64, LINUX_ARM64
from flashneuron.errors import DeviceError

RUNNER = "flashneuron-runner"
CHECKOUT = Path(__file__).resolve().parents[3]
STAMP = "runtime.json"  # written last into a runtime folder: {"version", "abi"}

PORTABLE = "arm64-portable"  # brings its C library along
ANDROID = "android-arm64"
# By ABI, the folders of build/runtime whose runners run there, the best first, and the ABIs that those may state. Any
# other ABI has a folder of its name.
_FOLDERS = {ANDROID_ARM64: (ANDROID, PORTABLE), LINUX_ARM64: (LINUX_ARM64, PORTABLE)}
_STATED = {ANDROID_ARM64: (ANDROID_ARM64, LINUX_ARM64)}


def find_runtime(abi: str) -> Path:
    """The folder with the runner for `abi` (abi.py) and the libraries it needs beside it.

    FLASHNEURON_RUNTIME names such a folder; without it, one of build/runtime of the checkout. Raises DeviceError.
    """
    chosen = os.environ.get("FLASHNEURON_RUNTIME")
    folders = [Path(chosen)] if chosen else [runtime_folder(name) for name in _FOLDERS.get(abi, (abi,))]
    folder = next((each for each in folders if (each / RUNNER).is_file()), None)
    if folder is None:
        if chosen:
            raise DeviceError(f"FLASHNEURON_RUNTIME is {chosen}, where there is no {RUNNER}; unset it or correct it")
        raise DeviceError(_missing(abi))
    stamp = read_stamp(folder)
    if stamp.get("version", flashneuron.__version__) != flashneuron.__version__:
        raise DeviceError(
            f"the runner in {folder} is version {stamp['version']}, this is {flashneuron.__version__}; "
            f"rebuild it: {build_command(folder.name)}"
        )
    if stamp.get("abi", abi) not in _STATED.get(abi, (abi,)):
        raise DeviceError(f"the runner in {folder} is for {stamp['abi']}, the device needs {abi}")
    return folder


def _missing(abi: str) -> str:
    if abi == platform.machine():
        return f"no runner for {abi} in {runtime_folder(abi)}; build it: {build_command(abi)}"
    if abi in _FOLDERS:
        return f"no runner for {abi} has been built; build it: {build_command(PORTABLE)}"
    return f"no runner for {abi}: this machine builds them for {platform.machine()} and {ANDROID_ARM64}"


def build_command(folder: str) -> str:
    """What builds the runner of build/runtime/`folder`."""
    return "flashneuron runtime build" + (f" --target {folder}" if folder in (PORTABLE, ANDROID) else "")


def runtime_folder(abi: str) -> Path:
    return CHECKOUT / "build" / "runtime" / abi


def read_stamp(folder: Path) -> dict[str, str]:
    """Version and ABI of the runner in `folder`; empty if nobody wrote them (a runner built by hand says so itself)."""
    try:
        stamp = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in stamp.items()} if isinstance(stamp, dict) else {}
