"""Attention, norms and head as ExecuTorch programs: one file per layer, one for the head (FORMAT.md, "Attention
programs"). Each has one method of dynamic length: a decode and a prefill method would pack the weights twice.

One block is in memory at a time, lowered in another process; a file that is there already is kept, so that an
interrupted export goes on.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim

from flashneuron.errors import InputError
from flashneuron.export.backends import XNNPACK, Backend, lower, lowered, report_path
from flashneuron.export.etrecord import write_records
from flashneuron.export.worker import Worker
from flashneuron.model.blocks import AttentionBlock, Block, BlockDtype, HeadBlock
from flashneuron.model.quantized import INT4_GROUP
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.package.atomic import atomic_path, atomic_write
from flashneuron.progress import Progress

_WEIGHT_BITS: dict[BlockDtype, int] = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 5}  # int4: a scale of 16 bits a group
_GRAPH_BYTES = 96 << 10  # of a program besides its weights, and the alignment of its parts


def export_attention(
    spec: ModelSpec,
    weights: Weights,
    package_dir: Path,
    dtype: BlockDtype,
    max_chunk: int,
    progress: Progress,
    records: Path | None = None,
) -> dict[str, Any]:
    """Writes the programs, and ETRecords to `records`; returns their entry of the manifest's `attention` list."""
    if not 2 <= max_chunk <= spec.max_context:
        raise InputError(f"a chunk of {max_chunk} tokens is not possible; choose 2 to {spec.max_context}")
    backend = XNNPACK
    layers = [f"attention/{backend.name}/layer_{layer:03d}.pte" for layer in range(spec.layers)]
    head = f"head.{backend.name}.pte"

    def write(worker: Worker, name: str, block: Callable[[], Block]) -> None:
        if not lowered(package_dir / name):
            layer = _with_dtype(block(), dtype)
            worker.run(_lower_to, package_dir, name, spec, layer, max_chunk, backend, records)

    with Worker() as worker, progress.step("attention programs", spec.layers + 1, "programs") as advance:
        for layer, name in enumerate(layers):
            write(worker, name, partial(AttentionBlock, spec, layer, weights))
            advance(1)
        write(worker, head, partial(HeadBlock, spec, weights))
        advance(1)
    return {"backend": backend.name, "dtype": dtype, "max_chunk": max_chunk, "layers": layers, "head": head}


def check_attention(spec: ModelSpec, dtype: BlockDtype) -> None:
    """Can the programs have this element? Errors: InputError."""
    for width in (spec.hidden_size, spec.heads * spec.head_size):
        if dtype == "int4" and width % INT4_GROUP:
            what = f"--attention int4 needs a width that is a multiple of {INT4_GROUP}, this model has {width}"
            raise InputError(f"{what}; choose int8")


def check_standard(spec: ModelSpec) -> None:
    """Can attention be written in standard operators alone (model/standard_attention.py)? Errors: InputError."""
    if spec.rope is not None or spec.alibi:
        what = f"--backend qnn and --onnx know no {'ALiBi' if spec.alibi else 'RoPE'} yet, which {spec.family} needs"
        raise InputError(f"{what}; use --backend xnnpack")


def program_bytes(spec: ModelSpec, dtype: BlockDtype) -> int:
    """Size of all programs, roughly and from above."""
    q, kv, d = spec.heads * spec.head_size, spec.kv_heads * spec.head_size, spec.hidden_size
    outputs, weights = q + 2 * kv + d, d * (q + 2 * kv) + q * d
    layer = weights * _WEIGHT_BITS[dtype] // 8 + 8 * outputs + 16 * d + _GRAPH_BYTES
    head_bits = _WEIGHT_BITS["int8" if dtype == "int4" else dtype]
    return spec.layers * layer + spec.vocab_size * (d * head_bits // 8 + 8) + 8 * d + _GRAPH_BYTES


def trace_layer(spec: ModelSpec, block: Block, max_chunk: int) -> torch.export.ExportedProgram:
    """Traced for 1 … max_chunk tokens, over a cache of up to max_context rows of any element."""
    kv_size = spec.kv_heads * spec.head_size
    hidden = torch.zeros(2, spec.hidden_size)
    cache = torch.zeros(2, 4 * kv_size, dtype=torch.uint8)
    tokens = {0: Dim.DYNAMIC(min=1, max=max_chunk)}
    rows = {0: Dim.DYNAMIC(min=1, max=spec.max_context), 1: Dim.DYNAMIC(min=kv_size, max=4 * kv_size)}
    inputs = (hidden, hidden.clone(), cache, cache.clone(), torch.zeros(1, dtype=torch.int64))
    with torch.no_grad():
        return torch.export.export(block, inputs, dynamic_shapes=(tokens, tokens, rows, rows, None), strict=False)


def trace_head(spec: ModelSpec, block: Block) -> torch.export.ExportedProgram:
    hidden = torch.zeros(1, spec.hidden_size)
    with torch.no_grad():
        return torch.export.export(block, (hidden, hidden.clone()), strict=False)


def _with_dtype(block: Block, dtype: BlockDtype) -> Block:
    block.set_dtype(dtype)
    return block.eval()


def _lower_to(
    folder: Path, name: str, spec: ModelSpec, block: Block, max_chunk: int, backend: Backend, records: Path | None
) -> None:
    """In the worker."""
    path = folder / name
    trace = trace_head(spec, block) if isinstance(block, HeadBlock) else trace_layer(spec, block, max_chunk)
    program, ops = lower(trace, backend, records is not None)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        program.write_to_file(file)
    if records is not None:
        write_records(program, records, name)
    atomic_write(report_path(path), json.dumps(ops).encode())
    del program, trace
    gc.collect()  # graphs refer to themselves: without this, several layers pile up
