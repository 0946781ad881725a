"""What the Android build of the runner needs of others: looked at before anything is built, each lack in one line."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from flashneuron.device.host import cache_folder
from flashneuron.device.runtime_build import Target, target_named
from flashneuron.errors import InputError
from flashneuron.qnn import EXECUTORCH

API_LEVEL = 29  # Android 10, the app's and the runner's least
LEAST_NDK = 28  # the first whose programs run with pages of 16 KiB as they are
LEAST_QNN = (2, 37)  # what ExecuTorch 1.5 is tested with
_NDK_TOOLCHAIN = "build/cmake/android.toolchain.cmake"
_SUBMODULES = ("backends/xnnpack/third-party/XNNPACK", "third-party/flatbuffers", "third-party/flatcc")


def android_target(name: str, ndk: Path | None, executorch: Path | None, qnn_sdk: Path | None) -> Target:
    """The target `name` with the folders that `runtime build` was given. Raises InputError for what is missing."""
    target = target_named(name)
    given = {"--ndk": ndk, "--executorch": executorch, "--qnn-sdk": qnn_sdk}
    if target.preset != "android-arm64":
        if extra := [option for option, folder in given.items() if folder]:
            raise InputError(f"{extra[0]} is for --target android-arm64, not for {name}")
        return target
    if ndk is None:
        raise InputError(f"--ndk is needed: the folder of Android's NDK, r{LEAST_NDK} or newer")
    if executorch is None:
        raise InputError(f"--executorch is needed: a checkout of ExecuTorch {EXECUTORCH}'s sources with its submodules")
    check_ndk(ndk)
    check_executorch(executorch)
    definitions = {"FLASHNEURON_EXECUTORCH": str(executorch.resolve()), "FLASHNEURON_HIGHWAY": str(_highway())}
    if qnn_sdk:
        check_qnn_sdk(qnn_sdk)
        definitions["QNN_SDK_ROOT"] = str(qnn_sdk.resolve())
    return replace(target, definitions=definitions, environment={"ANDROID_NDK_HOME": str(ndk.resolve())})


def check_ndk(folder: Path) -> None:
    properties = folder / "source.properties"
    if not properties.is_file():
        raise InputError(f"--ndk {folder} is not an NDK: it has no source.properties")
    revision = re.search(r"^Pkg\.Revision\s*=\s*(\d+)\.\S*", properties.read_text(errors="replace"), re.MULTILINE)
    if not revision:
        raise InputError(f"{properties} states no Pkg.Revision; unpack the NDK again")
    if int(revision[1]) < LEAST_NDK:
        raise InputError(
            f"--ndk {folder} is r{revision[1]}, r{LEAST_NDK} or newer is needed: older ones link for pages of 4 KiB"
        )
    if not (folder / _NDK_TOOLCHAIN).is_file():
        raise InputError(f"--ndk {folder} has no {_NDK_TOOLCHAIN}; unpack the NDK again")


def check_executorch(folder: Path) -> None:
    stated = folder / "version.txt"
    if not (folder / "CMakeLists.txt").is_file() or not stated.is_file():
        raise InputError(f"--executorch {folder} is not ExecuTorch's sources: no CMakeLists.txt or no version.txt")
    version = stated.read_text(errors="replace").strip()
    least = EXECUTORCH.rpartition(".")[0]
    if not version.startswith(f"{least}."):
        raise InputError(f"--executorch {folder} is {version}, {least} is needed; there: git checkout v{EXECUTORCH}")
    if folder.resolve().name != "executorch":
        raise InputError(f"--executorch {folder}: the folder must be named executorch, as its own headers expect")
    for name in _SUBMODULES:
        if not (folder / name / "CMakeLists.txt").is_file():
            raise InputError(
                f"--executorch {folder} lacks {name}; there: git submodule update --init --recursive --depth 1"
            )


def check_qnn_sdk(folder: Path) -> None:
    if not (folder / "include/QNN/QnnInterface.h").is_file():
        raise InputError(f"--qnn-sdk {folder} is not a QNN SDK: it has no include/QNN/QnnInterface.h")
    if not (folder / "lib/aarch64-android/libQnnHtp.so").is_file():
        raise InputError(f"--qnn-sdk {folder} has no lib/aarch64-android/libQnnHtp.so; unpack the whole SDK")
    described = folder / "sdk.yaml"
    version = re.search(r"(\d+)\.(\d+)\.\d+", described.read_text(errors="replace")) if described.is_file() else None
    if not version:
        raise InputError(f"--qnn-sdk {folder} has no sdk.yaml that states its version; unpack the whole SDK")
    if (int(version[1]), int(version[2])) < LEAST_QNN:
        least = ".".join(map(str, LEAST_QNN))
        raise InputError(f"--qnn-sdk {folder} is {version[0]}, {least} or newer is needed by ExecuTorch {EXECUTORCH}")


def _highway() -> Path:
    folder = cache_folder() / "arm64" / "highway"
    if not (folder / "CMakeLists.txt").is_file():
        raise InputError(f"Highway's sources are not in {folder}: tools/setup arm64")
    return folder
