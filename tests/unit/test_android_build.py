"""What the Android build asks for before it begins, and what CMake makes of it. No NDK is here: a toolchain of that
name stands for one, with Debian's cross compiler, and a few empty targets for ExecuTorch's sources.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from flashneuron.cli.main import cli
from flashneuron.device.android_build import android_target
from flashneuron.device.runtime_build import Target
from flashneuron.errors import InputError

SOURCES = Path(__file__).parents[2] / "device_runtime"
TOOLCHAIN = """
if(NOT ANDROID_ABI STREQUAL "arm64-v8a" OR NOT ANDROID_PLATFORM STREQUAL "android-29")
  message(FATAL_ERROR "${ANDROID_ABI} for ${ANDROID_PLATFORM}?")
endif()
set(ANDROID TRUE)
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ANDROID_ABI ANDROID_PLATFORM)
"""
LIBCXX = "toolchains/llvm/prebuilt/linux-x86_64/sysroot/usr/lib/aarch64-linux-android/libc++_shared.so"
EXECUTORCH = """
cmake_minimum_required(VERSION 3.24)
project(executorch CXX)
foreach(part DEVTOOLS EXTENSION_MODULE EXTENSION_TENSOR KERNELS_OPTIMIZED XNNPACK)
  if(NOT EXECUTORCH_BUILD_${part})
    message(FATAL_ERROR "${part} was not asked for")
  endif()
endforeach()
foreach(name executorch extension_threadpool etdump executorch_backends executorch_extensions executorch_kernels)
  add_library(${name} INTERFACE)
endforeach()
foreach(name backends extensions kernels)
  add_library(executorch::${name} ALIAS executorch_${name})
endforeach()
if(EXECUTORCH_BUILD_QNN)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/stub.cc "")
  add_library(qnn_executorch_backend SHARED ${CMAKE_CURRENT_BINARY_DIR}/stub.cc)
endif()
"""


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def ndk(tmp_path: Path) -> Path:
    properties = "Pkg.Desc = Android NDK\nPkg.Revision = 28.2.13676358\n"
    files = {"source.properties": properties, "build/cmake/android.toolchain.cmake": TOOLCHAIN, LIBCXX: ""}
    return write(tmp_path / "ndk", files)


@pytest.fixture
def executorch(tmp_path: Path) -> Path:
    modules = ("backends/xnnpack/third-party/XNNPACK", "third-party/flatbuffers", "third-party/flatcc")
    files = {
        "CMakeLists.txt": EXECUTORCH,
        "version.txt": "1.5.1\n",
        **{f"{each}/CMakeLists.txt": "" for each in modules},
    }
    return write(tmp_path / "executorch", files)


@pytest.fixture
def qnn_sdk(tmp_path: Path) -> Path:
    files = {"include/QNN/QnnInterface.h": "", "lib/aarch64-android/libQnnHtp.so": "", "sdk.yaml": "version: 2.37.1\n"}
    return write(tmp_path / "qairt", files)


def refused(ndk: Path | None, executorch: Path | None, qnn_sdk: Path | None = None) -> str:
    with pytest.raises(InputError) as error:
        android_target("android-arm64", ndk, executorch, qnn_sdk)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_each_missing_folder_is_asked_for(ndk: Path, executorch: Path) -> None:
    assert refused(None, executorch).startswith("--ndk is needed: the folder of Android's NDK, r28 or newer")
    assert "--executorch is needed: a checkout of ExecuTorch 1.5.1" in refused(ndk, None)


@pytest.mark.parametrize("option", ["--ndk", "--executorch", "--qnn-sdk"])
def test_they_are_refused_for_other_targets(option: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["runtime", "build", option, str(tmp_path)])
    assert str(result.exception) == f"{option} is for --target android-arm64, not for host"


def test_ndks_that_will_not_do_are_told_apart(ndk: Path, executorch: Path, tmp_path: Path) -> None:
    assert "is not an NDK: it has no source.properties" in refused(tmp_path, executorch)
    (ndk / "build/cmake/android.toolchain.cmake").unlink()
    assert "has no build/cmake/android.toolchain.cmake" in refused(ndk, executorch)
    (ndk / "source.properties").write_text("Pkg.Revision = 26.1.10909125\n")
    assert "is r26, r28 or newer is needed" in refused(ndk, executorch)
    (ndk / "source.properties").write_text("Pkg.Desc = something\n")
    assert "states no Pkg.Revision" in refused(ndk, executorch)


def test_sources_of_executorch_that_will_not_do_are_told_apart(ndk: Path, executorch: Path, tmp_path: Path) -> None:
    assert "is not ExecuTorch's sources" in refused(ndk, tmp_path)
    (executorch / "third-party/flatcc/CMakeLists.txt").unlink()
    assert "lacks third-party/flatcc; there: git submodule update --init --recursive" in refused(ndk, executorch)
    other = executorch.rename(tmp_path / "executorch-1.5.1")
    assert "must be named executorch" in refused(ndk, other)
    (other / "version.txt").write_text("1.4.0a0\n")
    assert "is 1.4.0a0, 1.5 is needed; there: git checkout v1.5.1" in refused(ndk, other)


def test_qnn_sdks_that_will_not_do_are_told_apart(ndk: Path, executorch: Path, qnn_sdk: Path, tmp_path: Path) -> None:
    assert "is not a QNN SDK" in refused(ndk, executorch, tmp_path)
    (qnn_sdk / "sdk.yaml").write_text("version: 2.30.0\n")
    assert "is 2.30.0, 2.37 or newer is needed by ExecuTorch 1.5.1" in refused(ndk, executorch, qnn_sdk)
    (qnn_sdk / "sdk.yaml").unlink()
    assert "has no sdk.yaml" in refused(ndk, executorch, qnn_sdk)
    (qnn_sdk / "lib/aarch64-android/libQnnHtp.so").unlink()
    assert "has no lib/aarch64-android/libQnnHtp.so" in refused(ndk, executorch, qnn_sdk)


def test_highway_comes_from_the_set_up(
    ndk: Path, executorch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert refused(ndk, executorch).endswith("cache/flashneuron/arm64/highway: tools/setup arm64")


def configure(target: Target, build: Path) -> list[dict[str, str]]:
    """CMake's list of what would be compiled."""
    words = ["cmake", "--preset", target.preset, "-B", str(build), f"-DPython3_EXECUTABLE={sys.executable}"]
    words += [f"-D{name}={value}" for name, value in target.definitions.items()]
    environment = {**os.environ, **target.environment}
    done = subprocess.run(words, cwd=SOURCES, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    commands: list[dict[str, str]] = json.loads((build / "compile_commands.json").read_text())
    return commands


@pytest.mark.parametrize("with_qnn", [False, True])
def test_cmake_builds_all_of_it_with_what_it_was_given(
    ndk: Path, executorch: Path, qnn_sdk: Path, tmp_path: Path, with_qnn: bool
) -> None:
    target = android_target("android-arm64", ndk, executorch, qnn_sdk if with_qnn else None)
    commands = {Path(entry["file"]).name: entry["command"] for entry in configure(target, tmp_path / "build")}
    assert {"main.cc", "engine.cc", "dot_integers.cc", "sha256_arm64.cc", "targets.cc"} <= commands.keys()
    assert not any(name.endswith("_test.cc") for name in commands)
    assert ("-DFLASHNEURON_QNN" in commands["npu_libraries.cc"]) == with_qnn
    assert "-isystem /usr/include" not in commands["manifest.cc"]
    assert "-Werror" in commands["engine.cc"]
    script = (tmp_path / "build/src/runner/cmake_install.cmake").read_text()
    assert "libc++_shared.so" in script
    assert ("libqnn_executorch_backend.so" in script) == with_qnn
