"""ETRecords of lowered programs (package/records.py), for ExecuTorch's Inspector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils._pytree import tree_map

from flashneuron.package.atomic import atomic_path
from flashneuron.package.records import record_path

if TYPE_CHECKING:
    from executorch.exir import ExecutorchProgramManager
    from torch.export import ExportedProgram


def write_records(program: ExecutorchProgramManager, records: Path, name: str) -> None:
    """One for each method of the program `name`, which was lowered with generate_etrecord."""
    from executorch.devtools.etrecord import ETRecord

    whole = program.get_etrecord()
    graphs = whole.edge_dialect_program
    for method, graph in (graphs if isinstance(graphs, dict) else {"forward": graphs}).items():
        # Whatever the method's name, the Inspector looks for `forward`.
        maps = (whole._debug_handle_map, whole._delegate_map, whole._instruction_id_to_num_outs_map)
        handles, delegates, outputs = ({"forward": found[method]} if found else None for found in maps)
        record = ETRecord(
            edge_dialect_program=_without_weights(graph),
            _debug_handle_map=handles,
            _delegate_map=delegates,
            _instruction_id_to_num_outs_map=outputs,
        )
        with atomic_path(record_path(records, name, method)) as temporary:
            record.save(temporary)


def _without_weights(program: ExportedProgram) -> ExportedProgram:
    """The same graph without numbers, which would be nearly all of the record's size."""

    def shape(value: Any) -> Any:
        return value.to("meta") if isinstance(value, Tensor) else value

    for weights in (program.state_dict, program.constants):
        weights.update({name: shape(weight) for name, weight in weights.items()})
    program._example_inputs = tree_map(shape, program._example_inputs)
    return program
