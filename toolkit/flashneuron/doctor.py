"""What this machine has and lacks for each kind of work, and how to get it. Only looks; changes nothing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flashneuron.device.abi import ANDROID_ARM64
from flashneuron.device.android_build import check_ndk
from flashneuron.device.host import cache_folder
from flashneuron.device.runtime import ANDROID, RUNNER, find_runtime, runtime_folder
from flashneuron.emulator.phone import require_machine
from flashneuron.errors import FlashneuronError
from flashneuron.qnn import EXECUTORCH, PACKAGES, find_qnn


@dataclass(frozen=True)
class Finding:
    """`fix` is empty where nothing is missing."""

    purpose: str
    what: str
    found: str
    fix: str = ""

    @property
    def ok(self) -> bool:
        return not self.fix


def examine(purpose: str | None = None) -> list[Finding]:
    """Every finding, or those of one of PURPOSES."""
    return [finding for name, look in PURPOSES.items() if purpose in (None, name) for finding in look()]


def _export() -> Iterator[Finding]:
    for package in ("torch", "executorch", "safetensors", "scipy"):
        yield _package("export", package, "pip install 'flashneuron[export]'")


def _qnn() -> Iterator[Finding]:
    works = ", ".join(f"onnxruntime-qnn {name}" for name, (_, fits) in PACKAGES.items() if fits)
    fails = ", ".join(name for name, (_, fits) in PACKAGES.items() if not fits)
    try:
        sdk = find_qnn()
    except FlashneuronError as error:
        yield Finding("qnn", "QNN libraries", "missing", str(error))
    else:
        yield Finding("qnn", "QNN libraries", f"{sdk.version}, from {sdk.source}")
    found = _version("executorch")
    pair = f"known to work with {EXECUTORCH}: {works} (not {fails})"
    if found is None:
        yield Finding("qnn", "ExecuTorch for QNN", "missing", "pip install 'flashneuron[export]'")
    elif found.partition("+")[0] != EXECUTORCH:
        yield Finding("qnn", "ExecuTorch for QNN", f"{found}, never tried", f"pip install executorch=={EXECUTORCH}")
    else:
        yield Finding("qnn", "ExecuTorch for QNN", f"{found}; {pair}")
    machine = f"{platform.system()} {platform.machine()}"
    wanted = "" if machine == "Linux x86_64" else "compile for the NPU on x86-64 Linux: there is no compiler elsewhere"
    yield Finding("qnn", "machine for the compiler", machine, wanted)


def _runtime() -> Iterator[Finding]:
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    yield Finding("runtime", "C++ compiler", compiler or "missing", "" if compiler else "apt-get install g++")
    for tool in ("cmake", "ninja"):
        beside = Path(sys.executable).with_name(tool)
        path = str(beside) if beside.is_file() else shutil.which(tool)
        yield Finding("runtime", tool, path or "missing", "" if path else f"pip install {tool}")
    headers = {
        "hwy/highway.h": "libhwy-dev",
        "nlohmann/json.hpp": "nlohmann-json3-dev",
        "openssl/sha.h": "libssl-dev",
    }
    for header, package in headers.items():
        there = any((Path(folder) / header).is_file() for folder in ("/usr/include", "/usr/local/include"))
        fix = "" if there else f"apt-get install {package}"
        yield Finding("runtime", header, "found" if there else "not in /usr/include", fix)


def _arm64() -> Iterator[Finding]:
    programs = {
        "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
        "qemu-aarch64-static": "qemu-user-static",
    }
    for program, package in programs.items():
        path = shutil.which(program)
        yield Finding("arm64", program, path or "missing", "" if path else f"apt-get install {package}")
    kept = cache_folder() / "arm64"
    for name in ("executorch", "highway"):
        there = (kept / name).is_dir()
        fix = "" if there else "tools/setup arm64, in the checkout"
        yield Finding("arm64", f"{name} for arm64", str((kept / name).resolve()) if there else "missing", fix)
    yield _runner("arm64", "runner for arm64 phones", ANDROID_ARM64)


def _android() -> Iterator[Finding]:
    ndk = os.environ.get("ANDROID_NDK_HOME")
    how = "get Android's NDK r28 or newer from developer.android.com/ndk and set ANDROID_NDK_HOME to its folder"
    found, fix = ndk or "ANDROID_NDK_HOME is not set", "" if ndk else how
    if ndk:
        try:
            check_ndk(Path(ndk))
        except FlashneuronError as error:
            fix = str(error)
    yield Finding("android", "NDK", found, fix)
    built = runtime_folder(ANDROID) / RUNNER
    command = f"flashneuron runtime build --target {ANDROID} --ndk DIR --executorch DIR"
    how = f"with the sources of ExecuTorch {EXECUTORCH}: {command}"
    there = built.is_file()
    yield Finding("android", "runner for Android", str(built) if there else "missing", "" if there else how)


def _runner(purpose: str, what: str, abi: str) -> Finding:
    try:
        return Finding(purpose, what, str(find_runtime(abi)))
    except FlashneuronError as error:
        return Finding(purpose, what, "missing", str(error))


def _run() -> Iterator[Finding]:
    yield _runner("run", "runner for this machine", platform.machine())


def _emulator() -> Iterator[Finding]:
    try:
        require_machine()
    except FlashneuronError as error:
        yield Finding("emulator", "emulated phone", "not possible", str(error))
    else:
        yield Finding("emulator", "emulated phone", "possible")


def _package(purpose: str, name: str, fix: str) -> Finding:
    found = _version(name)
    return Finding(purpose, name, found or "missing", "" if found else fix)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


PURPOSES: dict[str, Callable[[], Iterator[Finding]]] = {
    "export": _export,
    "qnn": _qnn,
    "runtime": _runtime,
    "run": _run,
    "arm64": _arm64,
    "android": _android,
    "emulator": _emulator,
}
