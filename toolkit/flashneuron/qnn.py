"""Qualcomm's QNN libraries (QAIRT): where they are on this machine, and which chips they compile for. Nothing is ever
downloaded: they come with the extra `flashneuron[qnn]` (x86-64: compiler and Hexagon emulator) or an SDK of Qualcomm's.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

from flashneuron.errors import InputError

SDK_ROOT = "QNN_SDK_ROOT"
PACKAGE = "onnxruntime-qnn"
# Version of Hexagon by chip, as ExecuTorch knows them.
SOCS = {
    "SA8295": 68, "SM8350": 68, "QCM6490": 68, "SM8450": 69, "SM8475": 69, "SXR2230P": 69,
    "SM8550": 73, "SA8255": 73, "SC8380XP": 73, "SSG2115P": 73, "SSG2125P": 73, "SXR1230P": 73, "QCS9100": 73,
    "SM8650": 75, "SM8750": 79, "SXR2330P": 79,
    "SM8850": 81, "SM8845": 81, "SA8797": 81, "SAR2230P": 81, "SW6100": 81,
}  # fmt: skip
EXECUTORCH = "1.5.1"
# What was tried with it: version of the Python package → of the SDK inside, and does it initialise?
PACKAGES = {"2.5.0": ("2.49.40", True), "2.3.0": ("", False), "2.7.0": ("", False)}
_HOST_FOLDER = "lib/x86_64-linux-clang"


@dataclass(frozen=True)
class QnnSdk:
    version: str  # of QAIRT, for instance 2.49.40
    source: str  # for people
    host_libraries: Path  # folder of libQnnHtp.so and libQnnSystem.so for x86-64
    root: Path | None  # of a whole SDK, with libraries of other machines


def find_qnn() -> QnnSdk:
    """QNN_SDK_ROOT's SDK, else the installed package's. Errors: InputError with the fix."""
    if root := os.environ.get(SDK_ROOT):
        return _from_root(Path(root))
    spec = importlib.util.find_spec("onnxruntime_qnn")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"QNN's libraries are missing; pip install 'flashneuron[qnn]', or set {SDK_ROOT} to an SDK")
    found = importlib.metadata.version(PACKAGE)
    version, works = PACKAGES.get(found, ("", True))
    if not works:
        raise InputError(f"{PACKAGE} {found} does not work with ExecuTorch {EXECUTORCH}; pip install {PACKAGE}==2.5.0")
    folder = Path(spec.submodule_search_locations[0])
    return QnnSdk(version or f"of {PACKAGE} {found}", f"{PACKAGE} {found}", _checked(folder), None)


def device_libraries(sdk: QnnSdk, abi: str, soc: str) -> dict[str, Path]:
    """By name what a device's runner loads to use its NPU: on x86-64 the Hexagon emulator. Errors: InputError."""
    if abi == "x86_64":
        found = [sdk.host_libraries / name for name in ("libQnnHtp.so", "libQnnSystem.so")]
        found += sorted((sdk.host_libraries.parent / "onnxruntime_qnn.libs").glob("*.so*"))  # what those two need
        return {**{path.name: path for path in found}, "libatomic.so.1": _system_library("libatomic.so.1")}
    if sdk.root is None:
        raise InputError(f"{sdk.source} has no libraries for {abi}; set {SDK_ROOT} to a QNN SDK")
    version = SOCS[check_soc(soc)]
    arm = sdk.root / "lib" / "aarch64-android"
    found = [arm / name for name in ("libQnnHtp.so", "libQnnSystem.so", f"libQnnHtpV{version}Stub.so")]
    found.append(sdk.root / "lib" / f"hexagon-v{version}" / "unsigned" / f"libQnnHtpV{version}Skel.so")
    for path in found:
        if not path.is_file():
            raise InputError(f"{path} is missing; set {SDK_ROOT} to a whole QNN SDK")
    return {path.name: path for path in found}


def check_soc(name: str) -> str:
    """The chip's name as ExecuTorch spells it. Errors: InputError."""
    if name.upper() not in SOCS:
        raise InputError(f"--soc {name} is not known; choose one of {', '.join(sorted(SOCS))}")
    return name.upper()


def _system_library(name: str) -> Path:
    """A library of this machine that phones, emulated ones too, do not have."""
    try:
        ctypes.CDLL(name)
    except OSError:
        raise InputError(f"QNN's libraries need {name}: apt-get install {name.partition('.')[0]}1") from None
    maps = Path("/proc/self/maps").read_text().splitlines()
    return Path(next(line.split()[-1] for line in maps if Path(line.split()[-1]).name.startswith(name)))


def _from_root(root: Path) -> QnnSdk:
    folder = root / _HOST_FOLDER
    if not root.is_dir():
        raise InputError(f"{SDK_ROOT}={root} is not a folder; set it to an unpacked QNN SDK, or unset it")
    described = root / "sdk.yaml"
    text = described.read_text(errors="replace") if described.is_file() else root.resolve().name
    version = re.search(r"\d+\.\d+\.\d+", text)
    return QnnSdk(version[0] if version else "unknown", f"{SDK_ROOT}={root}", _checked(folder), root)


def _checked(folder: Path) -> Path:
    for name in ("libQnnHtp.so", "libQnnSystem.so"):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder} has no {name}; pip install 'flashneuron[qnn]', or set {SDK_ROOT} to a whole SDK"
            )
    return folder
