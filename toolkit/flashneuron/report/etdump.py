"""ETDumps through ExecuTorch's Inspector, with the export's ETRecords where there are any."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flashneuron.errors import InputError
from flashneuron.package.records import find_record
from flashneuron.profile.etdump import Dump
from flashneuron.report.operators import Event, Row, node_of, rows_of, short_operator

_ENDS = {"Input": "input", "Output": "output"}  # of a graph on an NPU


def read_rows(folder: Path, dumps: Sequence[Dump], records: Path | None, delegate: str) -> list[Row]:
    """Operators of all `dumps`, which lie in `folder`; `delegate`: as rows_of takes it. Errors: InputError."""
    with _quiet():
        try:
            from executorch.devtools import Inspector
            from executorch.devtools.etrecord import parse_etrecord
        except ModuleNotFoundError as error:
            what = f"report --etdump needs {error.name}; install the extra: pip install 'flashneuron[export]'"
            raise InputError(what) from None
        rows: list[Row] = []
        for dump in dumps:
            path, record, modules = folder / dump.file, None, dict[str, str]()
            if records is not None:
                found = find_record(records, dump.program, dump.method, dump.sha256)
                record = _read(
                    found, "export the package again with --etrecord", lambda p=found: parse_etrecord(str(p))
                )
                modules = {node.name: _module(node.meta.get("nn_module_stack")) for node in _graph(record).nodes}
            inspector = _read(
                path,
                "run again with --etdump",
                # Times of delegates as they are: the Inspector cannot know that some of them are cycles.
                lambda p=path, r=record: Inspector(
                    etdump_path=str(p), etrecord=r, delegate_time_scale_converter=lambda _, time: time
                ),
            )
            for block in inspector.event_blocks:
                rows += rows_of([_event(event, modules) for event in block.events if event.perf_data], delegate)
    return rows


def _event(event: Any, modules: Mapping[str, str]) -> Event:
    scale = 1 if event.is_delegated_op else 1e6  # ms, as the Inspector gives what is not a delegate's, to ns
    node = node_of(event.name)
    stacks = [_module(stack) for stack in event.module_hierarchy.values()]
    module = next(filter(None, stacks), "") or modules.get(node or "", "")
    operator = short_operator(event.op_types) or _of_node(node or _ENDS.get(event.name.split()[0], ""))
    return Event(
        name=event.name,
        instruction=event._instruction_id,
        operator=operator,
        module=module,
        values=[value * scale for value in event.perf_data.raw],
    )


def _of_node(node: str) -> str:
    """`aten_linear_default_1` is `linear`."""
    words = node.rstrip("0123456789").rstrip("_").removesuffix("_default").removesuffix("_tensor")
    return words.removeprefix("aten_").removeprefix("dim_order_ops_").strip("_")


def _module(stack: Mapping[str, Any] | None) -> str:
    """The innermost module's name within the block."""
    names = [str(entry[0]) for entry in (stack or {}).values()]
    return names[-1].removeprefix("block.") if names else ""


def _graph(record: Any) -> Any:
    program = record.edge_dialect_program
    return (program["forward"] if isinstance(program, dict) else program).graph


def _read(path: Path, fix: str, read: Any) -> Any:
    try:
        return read()
    except Exception as error:  # whatever a damaged file makes of the library
        raise InputError(f"cannot read {path} ({type(error).__name__}); {fix}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the libraries say about what is not asked of them (missing tensors, GPU kernels)."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
