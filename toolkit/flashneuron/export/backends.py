"""From a traced block to an ExecuTorch program for the CPU, and what any backend's lowering is asked about."""

from __future__ import annotations

import json
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from executorch.exir import ExecutorchProgramManager
    from torch.export import ExportedProgram


@dataclass(frozen=True)
class Backend:
    name: str  # in the manifest, in the package's file names and in --backend
    partitioners: Callable[[], list[Any]]
    modules: tuple[str, ...]  # what lowering imports, and takes seconds


def _xnnpack() -> list[Any]:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

    return [XnnpackPartitioner()]


XNNPACK = Backend("xnnpack", _xnnpack, ("executorch.exir", "executorch.backends.xnnpack.partition.xnnpack_partitioner"))


def report_path(program: Path) -> Path:
    """Beside a program, for as long as the export is not finished: what lowering found out, JSON. Written last."""
    return program.with_suffix(".json")


def lowered(program: Path) -> bool:
    return program.exists() and report_path(program).exists()


def lowering_statistics(folder: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What lowering found out about an entry of the manifest's `attention` list (FORMAT.md, statistics.json)."""
    reports = [json.loads(report_path(folder / name).read_bytes()) for name in dict.fromkeys(entry["layers"])]
    head = json.loads(report_path(folder / entry["head"]).read_bytes())
    found: dict[str, Any] = {"head": {place: head[place] for place in ("delegated", "outside")}}
    for place in ("delegated", "outside"):
        most = Counter[str]()
        for report in reports:
            most |= Counter(report[place])
        found[place] = dict(most)
    if "errors" in head:
        found["errors"] = {name: error for report in [*reports, head] for name, error in report["errors"].items()}
        found["largest_file_bytes"] = max(report["bytes"] for report in reports)
        found["host_peak_bytes"] = max(report["host_peak_bytes"] for report in [*reports, head])
        found["seconds"] = round(sum(report["seconds"] for report in [*reports, head]), 1)
    return found


def lower(
    program: ExportedProgram, backend: Backend, records: bool = False
) -> tuple[ExecutorchProgramManager, dict[str, dict[str, int]]]:
    """One method, `forward`, whose inputs and outputs are the caller's memory, and its operators by place. `records`:
    with what export/etrecord.py writes.
    """
    with quiet():
        from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
        from executorch.exir.passes import MemoryPlanningPass

        edge = to_edge_transform_and_lower(program, partitioner=backend.partitioners(), generate_etrecord=records)
        planning = MemoryPlanningPass(alloc_graph_input=False, alloc_graph_output=False)
        inside, outside = ops_by_place(edge.exported_program())
        manager = edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning))
        return manager, {"delegated": dict(inside), "outside": dict(outside)}


def ops_by_place(program: ExportedProgram) -> tuple[Counter[str], Counter[str]]:
    """Operators of a lowered program by name: (in delegates, outside)."""
    inside, outside = Counter[str](), Counter[str]()
    for node in program.graph.nodes:
        name = _op_name(node)
        if name == "executorch_call_delegate":
            lowered = getattr(program.graph_module, node.args[0].target)
            inside.update(filter(None, map(_op_name, lowered.original_module.graph.nodes)))
        elif name is not None:
            outside[name] += 1
    return inside, outside


def _op_name(node: Any) -> str | None:
    if node.op != "call_function" or getattr(node.target, "__name__", "") == "getitem":
        return None
    return str(getattr(node.target, "_name", None) or node.target.__name__).replace("::", ".")


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the libraries say about themselves (missing GPU kernels, deprecations of each other)."""
    loggers = [logging.getLogger(name) for name in ("torchao", "torch.utils._pytree")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
