"""The C++ benchmarks of device_runtime/bench, built from this checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import CACHE, ROOT


def build(target: str) -> Path:
    folder = CACHE / "native"
    configure = ["cmake", "--preset", "host", "-B", str(folder), "-DFLASHNEURON_BENCH=ON", "-DFLASHNEURON_TESTS=OFF"]
    configure += [f"-DPython3_EXECUTABLE={sys.executable}"]
    tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in (configure, ["cmake", "--build", str(folder), "--target", target]):
        done = subprocess.run(command, cwd=ROOT / "device_runtime", env=tools, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
            raise SystemExit(f"bench: building {target} failed: {last[0]}")
    return folder / "bench" / target.removesuffix("_bench") / target


def run(target: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "report.json"
        done = subprocess.run([str(build(target)), "--json", str(output)], stdout=sys.stderr)
        if done.returncode != 0:
            raise SystemExit(f"bench: {target} ended with {done.returncode}")
        found: dict[str, Any] = json.loads(output.read_text())
        return found


def script(name: str, *words: str) -> dict[str, Any]:
    """A sibling script of tools/ that writes its report with --json."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "report.json"
        command = [sys.executable, str(ROOT / "tools" / name), *words, "--json", str(output)]
        if subprocess.call(command, stdout=subprocess.DEVNULL) != 0:
            raise SystemExit(f"bench: {name} failed")
        found: dict[str, Any] = json.loads(output.read_text())
        return found
