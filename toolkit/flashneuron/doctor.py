"""What this machine has and lacks for each kind of work, and how to get it. Only looks; changes nothing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flashneuron.device.runtime import find_runtime
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


def _run() -> Iterator[Finding]:
    try:
        folder = find_runtime(platform.machine())
    except FlashneuronError as error:
        yield Finding("run", "runner for this machine", "missing", str(error))
    else:
        yield Finding("run", "runner for this machine", str(folder))


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
    "emulator": _emulator,
}
