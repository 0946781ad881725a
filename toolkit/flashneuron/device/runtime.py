"""The runner as files on this machine: building it from the checkout's sources, and finding it for a device's ABI."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import flashneuron
from flashneuron.errors import DeviceError, FlashneuronError, InputError
from flashneuron.progress import Progress

RUNNER = "flashneuron-runner"
TARGETS = ("host",)
CHECKOUT = Path(__file__).resolve().parents[3]
STAMP = "runtime.json"  # written last into a runtime folder: {"version", "abi"}

# What CMake says is missing → how to get it on Debian and Ubuntu.
_FIXES = {
    "hwy": "apt-get install libhwy-dev",
    "nlohmann_json": "apt-get install nlohmann-json3-dev",
    "OpenSSL": "apt-get install libssl-dev",
    "GTest": "apt-get install libgtest-dev",
    "CMAKE_CXX_COMPILER": "apt-get install g++",
    "ExecuTorch": "pip install -e '.[export,dev]'",
}
_MISSING = re.compile(
    r'configuration file provided by\s+"(\w+)"|Could NOT find (\w+)|(CMAKE_CXX_COMPILER) could|(ExecuTorch) was not'
)
_NINJA_STEP = re.compile(r"\[(\d+)/(\d+)\] ")


def find_runtime(abi: str) -> Path:
    """The folder with the runner for `abi` (x86_64, aarch64) and the libraries it needs beside it.

    FLASHNEURON_RUNTIME names such a folder; without it, build/runtime/ABI of the checkout. Raises DeviceError.
    """
    chosen = os.environ.get("FLASHNEURON_RUNTIME")
    folder = Path(chosen) if chosen else runtime_folder(abi)
    if not (folder / RUNNER).is_file():
        if chosen:
            raise DeviceError(f"FLASHNEURON_RUNTIME is {folder}, where there is no {RUNNER}; unset it or correct it")
        if abi != platform.machine():
            raise DeviceError(
                f"no runner for {abi} in {folder}, and only this machine's ({platform.machine()}) is built"
            )
        raise DeviceError(f"no runner for {abi} in {folder}; build it: flashneuron runtime build")
    stamp = read_stamp(folder)
    if stamp.get("version", flashneuron.__version__) != flashneuron.__version__:
        raise DeviceError(
            f"the runner in {folder} is version {stamp['version']}, this is {flashneuron.__version__}; "
            "rebuild it: flashneuron runtime build"
        )
    if stamp.get("abi", abi) != abi:
        raise DeviceError(f"the runner in {folder} is for {stamp['abi']}, the device needs {abi}")
    return folder


def runtime_folder(abi: str) -> Path:
    return CHECKOUT / "build" / "runtime" / abi


def read_stamp(folder: Path) -> dict[str, str]:
    """Version and ABI of the runner in `folder`; empty if nobody wrote them (a runner built by hand says so itself)."""
    try:
        stamp = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in stamp.items()} if isinstance(stamp, dict) else {}


def build_runtime(target: str, progress: Progress) -> Path:
    """Configures, builds and installs the runner for `target`; returns its folder. Quick when nothing has changed."""
    if target not in TARGETS:
        raise InputError(f"target '{target}' is not supported; supported: {', '.join(TARGETS)}")
    sources, build = CHECKOUT / "device_runtime", CHECKOUT / "build" / target
    if not (sources / "CMakeLists.txt").is_file():
        raise FlashneuronError(
            f"the runtime's sources are not in {sources}; work from a git checkout: pip install -e ."
        )
    tools = {name: _tool(name) for name in ("cmake", "ninja")}
    abi = platform.machine()
    folder = runtime_folder(abi)
    stamp = {"version": flashneuron.__version__, "abi": abi}
    build.mkdir(parents=True, exist_ok=True)
    log = build / "runtime-build.log"
    log.write_text("")

    configure = [tools["cmake"], "--preset", target, f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}"]
    configure += [f"-DPython3_EXECUTABLE={sys.executable}"]
    _run("configure the runtime", configure, sources, log, progress)
    _run("build the runner", [tools["cmake"], "--build", str(build), "--target", RUNNER], sources, log, progress)
    if read_stamp(folder) != stamp:
        (folder / STAMP).unlink(missing_ok=True)
    install = [tools["cmake"], "--install", str(build), "--component", "runtime", "--strip", "--prefix", str(folder)]
    _run("install the runner", install, sources, log, progress)
    if not (folder / RUNNER).is_file():
        raise FlashneuronError(f"the build left no {RUNNER} in {folder}; see {log}")
    (folder / STAMP).write_text(json.dumps(stamp) + "\n")
    return folder


def explain_failure(output: str) -> str:
    """One line out of a failed build's output: what is missing and how to get it, else the first error."""
    for match in _MISSING.finditer(output):
        name = next(group for group in match.groups() if group)
        if name in _FIXES:
            return f"{'a C++ compiler' if name == 'CMAKE_CXX_COMPILER' else name} is missing: {_FIXES[name]}"
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it printed nothing"]
    for sign in (r"\berror:", r"CMake Error", r"\bFAILED\b"):
        if found := next((line for line in lines if re.search(sign, line)), None):
            return found
    return lines[-1]


def _tool(name: str) -> str:
    """The interpreter's own build tool, else the one on PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if not found:
        raise FlashneuronError(f"{name} is missing: pip install -e '.[export,dev]' in the checkout, or tools/setup")
    return found


def _run(title: str, command: list[str], folder: Path, log: Path, progress: Progress) -> None:
    """Runs one build command, its output in `log`; ninja's [done/total] drives the bar."""
    output: list[str] = []
    with ExitStack() as stack, log.open("a") as record:
        process = stack.enter_context(
            subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        stack.callback(process.terminate)
        advance = None
        assert process.stdout is not None
        for line in process.stdout:
            record.write(line)
            output.append(line)
            if step := _NINJA_STEP.match(line):
                advance = advance or stack.enter_context(progress.step(title, int(step[2]), "files"))
                advance(1)
        if process.wait() != 0:
            raise FlashneuronError(f"cannot {title}: {explain_failure(''.join(output))} (full output: {log})")
