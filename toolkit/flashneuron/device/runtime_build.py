"""Building the runner from the checkout's sources, for this machine and for phones."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import flashneuron
from flashneuron.device import runtime
from flashneuron.device.abi import ANDROID_ARM64, LINUX_ARM64
from flashneuron.device.runtime import ANDROID, PORTABLE, RUNNER, STAMP, read_stamp, runtime_folder
from flashneuron.errors import FlashneuronError, InputError
from flashneuron.progress import Progress


@dataclass(frozen=True)
class Target:
    """`preset` is CMake's, `abi` what the runner states; `definitions` and `environment` are for configuring."""

    name: str
    preset: str
    abi: str
    definitions: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return runtime_folder(self.abi if self.name == "host" else self.name)


TARGETS = {
    "host": Target("host", "host", platform.machine()),
    PORTABLE: Target(PORTABLE, "linux-arm64", LINUX_ARM64),
    ANDROID: Target(ANDROID, "android-arm64", ANDROID_ARM64),
}

# What CMake says is missing → how to get it on Debian and Ubuntu.
_FIXES = {
    "hwy": "apt-get install libhwy-dev",
    "nlohmann_json": "apt-get install nlohmann-json3-dev",
    "OpenSSL": "apt-get install libssl-dev",
    "GTest": "apt-get install libgtest-dev",
    "CMAKE_CXX_COMPILER": "apt-get install g++",
    "ExecuTorch": "pip install -e '.[export,dev]'",
    "ExecuTorch or Highway for arm64": "tools/setup arm64",
    "aarch64-linux-gnu-g++": "tools/setup arm64",
    "/usr/src/googletest": "apt-get install googletest",
}
_MISSING = re.compile(
    r'configuration file provided by\s+"(\w+)"|Could NOT find (\w+)|(CMAKE_CXX_COMPILER) could|(ExecuTorch) was not'
    r"|(ExecuTorch or Highway for arm64) is not|(aarch64-linux-gnu-g\+\+)\s+is not"
    r'|"(/usr/src/googletest)"\s+which is not'
)
_NINJA_STEP = re.compile(r"\[(\d+)/(\d+)\] ")


def target_named(name: str) -> Target:
    if name not in TARGETS:
        raise InputError(f"target '{name}' is not supported; supported: {', '.join(TARGETS)}")
    return TARGETS[name]


def build_runtime(target: Target, progress: Progress) -> Path:
    """Configures, builds and installs the runner for `target`; returns its folder. Quick when nothing has changed."""
    sources, build = runtime.CHECKOUT / "device_runtime", runtime.CHECKOUT / "build" / target.preset
    if not (sources / "CMakeLists.txt").is_file():
        raise FlashneuronError(
            f"the runtime's sources are not in {sources}; work from a git checkout: pip install -e ."
        )
    tools = {name: _tool(name) for name in ("cmake", "ninja")}
    folder = target.folder
    stamp = {"version": flashneuron.__version__, "abi": target.abi}
    build.mkdir(parents=True, exist_ok=True)
    log = build / "runtime-build.log"
    log.write_text("")

    configure = [tools["cmake"], "--preset", target.preset, f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}"]
    configure += [f"-DPython3_EXECUTABLE={sys.executable}"]
    configure += [f"-D{name}={value}" for name, value in target.definitions.items()]
    _run("configure the runtime", configure, sources, log, progress, target.environment)
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


def _run(
    title: str,
    command: list[str],
    folder: Path,
    log: Path,
    progress: Progress,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Runs one build command, its output in `log`; ninja's [done/total] drives the bar."""
    output: list[str] = []
    with ExitStack() as stack, log.open("a") as record:
        process = stack.enter_context(
            subprocess.Popen(
                command,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, **(environment or {})},
            )
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
