"""What became of attention when it was lowered: by backend, what its delegate took and what it left to the CPU."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, RootModel

from flashneuron.report.table import text_table
from flashneuron.units import format_bytes

Ops = dict[str, int]


class PlacedOps(BaseModel):
    delegated: Ops
    outside: Ops


class Lowering(PlacedOps):
    """FORMAT.md, statistics.json; what only an NPU has is None elsewhere."""

    head: PlacedOps
    errors: dict[str, dict[str, float]] | None = None
    largest_file_bytes: int | None = None
    host_peak_bytes: int | None = None
    seconds: float | None = None


class LoweringTable(RootModel[dict[str, Lowering]]):
    """By backend."""


def render_lowering(backends: dict[str, Any]) -> list[str]:
    """Tables: operators by place, and of each NPU its errors."""
    found = {name: Lowering.model_validate(data) for name, data in backends.items()}
    if not found:
        return []
    rows = []
    for name, lowering in found.items():
        for part, ops in (("a layer", lowering), ("head", lowering.head)):
            rows.append((name, part, str(sum(ops.delegated.values())), _names(ops.outside)))
    parts = [text_table(("attention by", "of", "ops delegated", "left to the CPU's operators"), rows)]
    return [*parts, *(_errors(name, lowering) for name, lowering in found.items() if lowering.errors)]


def _errors(name: str, lowering: Lowering) -> str:
    errors = lowering.errors or {}
    layers = [(key, found) for key, found in errors.items() if key != "head"]
    outputs = list(layers[0][1])
    rows = [(f"layer {key}", *(f"{found[output]:.2e}" for output in outputs)) for key, found in layers]
    head = errors["head"]["logits"]
    size, peak = format_bytes(lowering.largest_file_bytes or 0), format_bytes(lowering.host_peak_bytes or 0)
    said = f"logits {head:.2e}. Largest context {size}; compiled in {lowering.seconds} s with {peak} of host memory"
    title = f"{name}: largest error on calibration text, as a share of the output's largest number (Hexagon emulator)"
    return f"{title}\n{text_table(('', *outputs), rows)}\n{said}"


def _names(ops: Ops) -> str:
    return ", ".join(f"{name} × {count}" if count > 1 else name for name, count in sorted(ops.items())) or "nothing"
