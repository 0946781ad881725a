"""From a traced block to an ExecuTorch program, by backend. The only Python file that names vendors."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


def lower(program: ExportedProgram, backend: Backend) -> ExecutorchProgramManager:
    """One method, `forward`, whose inputs and outputs are the caller's memory."""
    with _quiet():
        from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
        from executorch.exir.passes import MemoryPlanningPass

        edge = to_edge_transform_and_lower(program, partitioner=backend.partitioners())
        planning = MemoryPlanningPass(alloc_graph_input=False, alloc_graph_output=False)
        return edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning))


@contextmanager
def _quiet() -> Iterator[None]:
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
