"""Finding the runner, and what a failed build tells."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest
from click.testing import CliRunner

import flashneuron
from flashneuron.cli.main import cli
from flashneuron.device import runtime
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
    with pytest.raises(DeviceError, match="no runner for riscv64"):
        runtime.find_runtime("riscv64")


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
    with pytest.raises(DeviceError, match="for aarch64, the device needs x86_64"):
        runtime.find_runtime("x86_64")


def test_an_unknown_target_is_refused_with_what_is_supported() -> None:
    result = CliRunner().invoke(cli, ["runtime", "build", "--target", "toaster"])
    assert isinstance(result.exception, InputError)
    assert str(result.exception) == "target 'toaster' is not supported; supported: host"


def test_building_needs_the_sources(checkout: Path) -> None:
    with pytest.raises(FlashneuronError, match="work from a git checkout"):
        runtime.build_runtime("host", SilentProgress())


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ('Could not find a package configuration file provided by "hwy" with any', "apt-get install libhwy-dev"),
        ("Could NOT find OpenSSL, try to set the path", "apt-get install libssl-dev"),
        ("No CMAKE_CXX_COMPILER could be found.", "a C++ compiler is missing: apt-get install g++"),
        ("[3/9] Building\nFAILED: x.o\nx.cc:3:1: error: no type", "x.cc:3:1: error: no type"),
        ("CMake Error: ExecuTorch was not found beside python", "ExecuTorch is missing: pip install"),
        ("ld: strange\n", "ld: strange"),
    ],
)
def test_a_failed_build_is_explained_in_one_line(output: str, expected: str) -> None:
    assert expected in runtime.explain_failure(output)
    assert "\n" not in runtime.explain_failure(output)


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
        runtime.build_runtime("host", SilentProgress())
