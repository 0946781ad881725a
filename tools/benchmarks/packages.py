"""The synthetic packages that benchmarks run on: made once, kept outside git, measured anew in every run."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import CACHE
from flashneuron.package.manifest import Package


@dataclass(frozen=True)
class Synthetic:
    """What `flashneuron synth` is asked for."""

    shape: str
    dtype: str
    attention: str
    layouts: str = "bundled"
    orders: str = "none,coactivation"
    max_chunk: int = 16

    @property
    def path(self) -> Path:
        return CACHE / f"{self.shape}-{self.dtype}-{self.attention}.fnpkg"

    def make(self) -> Package:
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            sys.stderr.write(f"bench: making {self.path.name}, once\n")
            command = [str(Path(sys.executable).with_name("flashneuron")), "synth", "--shape", self.shape, "--package"]
            command += ["-o", str(self.path), "--dtype", self.dtype, "--attention", self.attention]
            command += ["--layout", self.layouts, "--order", self.orders, "--max-chunk", str(self.max_chunk)]
            if subprocess.call(command, stdout=sys.stderr) != 0:
                raise SystemExit(f"bench: {self.path.name} could not be made")
        return Package.open(self.path)


FP16_CHECKPOINTS = {"opt-6.7b": 13_316_947_968, "falcon-7b": 13_843_441_408, "llama-2-7b": 13_476_831_232}  # bytes


def ladder_package(shape: str) -> Synthetic:
    return Synthetic(shape, "fp16", "int8", "bundled,split")


OPT_67B_INT4 = Synthetic("opt-6.7b", "int4", "int4")
OPT_27B_INT8 = Synthetic("opt-2.7b", "int8", "int8")


def synthetic_facts(package: Package) -> dict[str, Any]:
    """`published`, `reached` and `benchmark_token_ids` of a synthetic package."""
    found: dict[str, Any] = json.loads((package.folder / "statistics.json").read_text())["synthetic"]
    return found


def files(package: Package) -> list[Path]:
    return [package.folder / entry.path for entry in package.manifest.files]


def package_bytes(package: Package, variants: int = 1) -> int:
    """Bytes of one copy of the weights: FFN records are there once a variant."""
    manifest = package.manifest
    ffn = sum(entry.bytes for entry in manifest.files if entry.role == "ffn")
    rest = sum(entry.bytes for entry in manifest.files if entry.role != "ffn")
    return rest + ffn // len(manifest.ffn.variants) * variants
