"""Finding the runner, and what a failed build tells."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest
from click.testing import CliRunner

import flashneuron
from flashneuron.cli.main import cli
from flashneuron.device import runtime, runtime_build
from flashneuron.device.abi import parse_abi
from flashneuron.errors import DeviceError, FlashneuronError, InputError
from flashneuron.progress import SilentProgress


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("FLASHNEURON_RUNTIME", raising=False)
    monkeypatch.setattr(runtime, "CHECKOUT", tmp_path)
    return tmp_path


def install(folder: Path, **stamp: str) -> Path:
    folder.mkdir(parents=True)
    (folder / runtime.RUNNER).write_bytes(b"\x7fELF")
    if stamp:
        (folder / runtime.STAMP).write_text(json.dumps(stamp))
    return folder


def test_finds_the_checkouts_runner(checkout: Path) -> None:
    folder = install(checkout / "build/runtime/x86_64", version=flashneuron.__version__, abi="x86_64")
    assert runtime.find_runtime("x86_64") == folder


def test_a_missing_runner_names_the_command_that_builds_it(checkout: Path) -> None:
    with pytest.raises(DeviceError, match="flashneuron runtime build"):
        runtime.find_runtime(platform.machine())


def test_a_runner_for_another_machine_cannot_be_built_here(checkout: Path) -> None:
    with pytest.raises(DeviceError, match=r"no runner for riscv64: this machine builds them for .* and arm64-v8a"):
        runtime.find_runtime("riscv64")


@pytest.mark.parametrize(
    ("said", "abi"),
    [
        ("x86_64\n\n", "x86_64"),  # a Linux machine without getprop
        ("x86_64\nx86_64\n", "x86_64"),  # an emulated phone
        ("aarch64\narm64-v8a\nbionic\n", "arm64-v8a"),
        ("aarch64\narm64-v8a\n", "aarch64"),  # an emulated phone, which has no library of Android's
        ("aarch64\n\n", "aarch64"),
        ("aarch64\narmeabi-v7a\nbionic\n", "armeabi-v7a"),  # a 64-bit kernel below a 32-bit Android
        ("", ""),
    ],
)
def test_the_abi_is_androids_where_androids_c_library_is(said: str, abi: str) -> None:
    assert parse_abi(said) == abi


def test_a_phone_gets_androids_runner_else_the_portable_one(checkout: Path) -> None:
    portable = install(checkout / "build/runtime/arm64-portable", version=flashneuron.__version__, abi="aarch64")
    assert runtime.find_runtime("arm64-v8a") == runtime.find_runtime("aarch64") == portable
    android = install(checkout / "build/runtime/android-arm64", version=flashneuron.__version__, abi="arm64-v8a")
    assert runtime.find_runtime("arm64-v8a") == android
    assert runtime.find_runtime("aarch64") == portable, "without Android's C library its runner does not start"


@pytest.mark.parametrize("abi", ["arm64-v8a", "aarch64"])
def test_a_missing_runner_for_a_phone_names_its_target(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, abi: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(DeviceError, match=f"no runner for {abi} .*flashneuron runtime build --target arm64-portable$"):
        runtime.find_runtime(abi)


@pytest.mark.parametrize("target", ["arm64-portable", "android-arm64"])
def test_an_old_runner_for_a_phone_names_its_target(checkout: Path, target: str) -> None:
    install(checkout / "build/runtime" / target, version="0.0.1", abi="aarch64")
    with pytest.raises(DeviceError, match=rf"version 0\.0\.1.*flashneuron runtime build --target {target}$"):
        runtime.find_runtime("arm64-v8a")


def test_a_runner_of_another_version_is_refused(checkout: Path) -> None:
    install(checkout / "build/runtime/x86_64", version="0.0.1", abi="x86_64")
    with pytest.raises(DeviceError, match=r"version 0\.0\.1.*flashneuron runtime build"):
        runtime.find_runtime("x86_64")


def test_the_environment_names_a_folder_built_by_hand(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install(tmp_path / "mine")
    monkeypatch.setenv("FLASHNEURON_RUNTIME", str(folder))
    assert runtime.find_runtime("aarch64") == folder


def test_a_wrong_environment_is_named(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASHNEURON_RUNTIME", str(tmp_path / "nothing"))
    with pytest.raises(DeviceError, match="FLASHNEURON_RUNTIME"):
        runtime.find_runtime("x86_64")


def test_a_folder_for_another_abi_is_refused(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = install(tmp_path / "mine", version=flashneuron.__version__, abi="aarch64")
    monkeypatch.setenv("FLASHNEURON_RUNTIME", str(folder))
    assert runtime.find_runtime("arm64-v8a") == folder, "which may be portable"
    with pytest.raises(DeviceError, match="for aarch64, the device needs x86_64"):
        runtime.find_runtime("x86_64")


def test_an_unknown_target_is_refused_with_what_is_supported() -> None:
    result = CliRunner().invoke(cli, ["runtime", "build", "--target", "toaster"])
    assert isinstance(result.exception, InputError)
    expected = "target 'toaster' is not supported; supported: host, arm64-portable, android-arm64"
    assert str(result.exception) == expected


def test_building_needs_the_sources(checkout: Path) -> None:
    with pytest.raises(FlashneuronError, match="work from a git checkout"):
        runtime_build.build_runtime(runtime_build.TARGETS["host"], SilentProgress())


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ('Could not find a package configuration file provided by "hwy" with any', "apt-get install libhwy-dev"),
        ("Could NOT find OpenSSL, try to set the path", "apt-get install libssl-dev"),
        ("No CMAKE_CXX_COMPILER could be found.", "a C++ compiler is missing: apt-get install g++"),
        ("[3/9] Building\nFAILED: x.o\nx.cc:3:1: error: no type", "x.cc:3:1: error: no type"),
        ("CMake Error: ExecuTorch was not found beside python", "ExecuTorch is missing: pip install"),
        ("The CMAKE_CXX_COMPILER:\n\n    aarch64-linux-gnu-g++\n\n  is not a full path", "tools/setup arm64"),
        ("ExecuTorch or Highway for arm64 is not in /x: tools/setup arm64", "for arm64 is missing: tools/setup arm64"),
        ('given source "/usr/src/googletest" which is not an existing', "apt-get install googletest"),
        ("ld: strange\n", "ld: strange"),
    ],
)
def test_a_failed_build_is_explained_in_one_line(output: str, expected: str) -> None:
    assert expected in runtime_build.explain_failure(output)
    assert "\n" not in runtime_build.explain_failure(output)


def test_a_build_that_fails_names_the_step_and_the_log(checkout: Path) -> None:
    sources = checkout / "device_runtime"
    sources.mkdir()
    (sources / "CMakeLists.txt").write_text(
        'cmake_minimum_required(VERSION 3.28)\nproject(x NONE)\nmessage(FATAL_ERROR "broken on purpose")\n'
    )
    (sources / "CMakePresets.json").write_text(
        json.dumps(
            {
                "version": 6,
                "configurePresets": [{"name": "host", "generator": "Ninja", "binaryDir": "${sourceDir}/../build/host"}],
            }
        )
    )
    (checkout / "build/host").mkdir(parents=True)
    with pytest.raises(FlashneuronError, match=r"cannot configure the runtime: .*CMake Error.*runtime-build\.log"):
        runtime_build.build_runtime(runtime_build.TARGETS["host"], SilentProgress())
