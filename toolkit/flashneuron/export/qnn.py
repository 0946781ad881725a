"""Attention and head for Qualcomm's Hexagon (HTP), through ExecuTorch's QNN backend. Runs in a worker process, whose
standard output the compiler would otherwise write to.

Layers of one file are compiled together into one context; with shared weights a layer's graphs (decode and prefill, by
number of cache rows) store them once, which Qualcomm's x86 emulator cannot load. So errors are measured on a context of
one graph that holds nothing else, run by the emulator.

Integers are those of ExecuTorch's quantizer: 16-bit activations, whose ranges are twice the extremes over calibration
text (a moving average clips the residual's few large numbers: 27 % error of a layer instead of 0.1 %), and weights of 8
or 4 bits with a scale for each output.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flashneuron.errors import FlashneuronError
from flashneuron.export.backends import ops_by_place, quiet, report_path
from flashneuron.export.calibration import SAMPLES, LayerInputs
from flashneuron.export.etrecord import write_records
from flashneuron.export.static_graphs import StaticGraph, kv_heads_at_once
from flashneuron.model.blocks import AttentionBlock, HeadBlock
from flashneuron.model.standard_attention import StandardBlock
from flashneuron.package.atomic import atomic_path, atomic_write

CHECKS = 4  # positions that a layer's error is the largest of
_HEADROOM = 2.0  # times the calibrated extremes: a bit of 16, where a larger number of another text would be clipped
_QUANTIZED = {"int8": "use_16a8w", "int4": "use_16a4w"}
_PRODUCTS = {"aten.linear", "aten.matmul", "aten.bmm", "aten.mm", "aten.addmm", "aten.convolution"}
_OUTPUTS = ("residual", "ffn_input", "k", "v")

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class HtpTarget:
    soc: str  # ExecuTorch's name of the chipset, for instance SM8650
    dtype: str  # fp16, int8 or int4
    graphs: tuple[StaticGraph, ...]
    weight_sharing: bool
    libraries: Path  # folder of libQnnHtp.so and libQnnSystem.so for this machine


@dataclass(frozen=True)
class _Method:
    module: nn.Module
    samples: list[Inputs]


@dataclass(frozen=True)
class ProgramFile:
    """Where a program goes, and what lowering found out about it."""

    folder: Path  # of the package
    name: str  # the program's path in it
    records: Path | None  # folder for ETRecords, if they are wanted

    @property
    def path(self) -> Path:
        return self.folder / self.name


def lower_layers(
    file: ProgramFile, target: HtpTarget, layers: Sequence[tuple[int, AttentionBlock, LayerInputs]]
) -> None:
    """Writes one program with every graph of `layers`, and beside it, as .json, what lowering found out."""
    methods, decode = dict[str, _Method](), target.graphs[0]
    for index, block, seen in layers:
        for graph in target.graphs:
            at_once = kv_heads_at_once(block.kv_heads, block.head_size, graph.cached)
            module = StandardBlock(block, at_once).eval()
            samples: list[Inputs] = [seen.at(graph, position) for position in seen.positions(graph, SAMPLES)]
            methods[graph.method(index)] = _Method(module, samples)
    with _session(file.path, target):
        report = _write(file, target, methods)
        for index, _, seen in layers:
            name = decode.method(index)
            tests: list[Inputs] = [seen.at(decode, position) for position in seen.positions(decode, CHECKS)]
            report["errors"][f"{index}"] = _errors(target, methods[name], tests, _OUTPUTS)
    atomic_write(report_path(file.path), json.dumps(report).encode())


def lower_head(file: ProgramFile, target: HtpTarget, head: HeadBlock, residual: Tensor, ffn_out: Tensor) -> None:
    """As lower_layers, for the head's one method. residual, ffn_out: [n, d], what the last layer gave for n tokens."""
    samples: list[Inputs] = [(residual[i : i + 1], ffn_out[i : i + 1]) for i in range(0, len(residual), 8)]
    method = _Method(head.eval(), samples)
    with _session(file.path, target):
        report = _write(file, target, {"forward": method})
        report["errors"]["head"] = _errors(target, method, samples[:: max(1, len(samples) // CHECKS)], ("logits",))
    atomic_write(report_path(file.path), json.dumps(report).encode())


def _write(file: ProgramFile, target: HtpTarget, methods: Mapping[str, _Method]) -> dict[str, Any]:
    start = time.monotonic()
    records = file.records
    program, ops = _compile(target, methods, target.weight_sharing and len(methods) > 1, records is not None)
    with atomic_path(file.path) as temporary, temporary.open("wb") as out:
        program.write_to_file(out)
    if records is not None:
        write_records(program, records, file.name)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds = round(time.monotonic() - start, 1)
    return {**ops, "bytes": file.path.stat().st_size, "host_peak_bytes": peak_bytes, "seconds": seconds, "errors": {}}


def _compile(
    target: HtpTarget, methods: Mapping[str, _Method], share: bool, records: bool = False
) -> tuple[Any, dict[str, dict[str, int]]]:
    """The program, and its operators by place: `delegated` and `outside`, by name the largest number in a method."""
    from executorch.backends.qualcomm.serialization.qc_schema import QcomChipset
    from executorch.backends.qualcomm.utils import utils
    from executorch.exir import ExecutorchBackendConfig
    from executorch.exir.passes import MemoryPlanningPass

    options = utils.generate_htp_compiler_spec(use_fp16=target.dtype == "fp16", use_weight_sharing=share)
    # With shared buffers a device that has them reads the KV cache in place; elsewhere nothing changes.
    specs = utils.generate_qnn_executorch_compiler_spec(getattr(QcomChipset, target.soc), options, shared_buffer=True)
    modules = {name: _quantized(method, target) for name, method in methods.items()}
    inputs = {name: method.samples[0] for name, method in methods.items()}
    edge = utils.to_edge_transform_and_lower_to_qnn(modules, inputs, specs, generate_etrecord=records)
    inside, outside = Counter[str](), Counter[str]()
    for name in methods:
        there, here = ops_by_place(edge.exported_program(name))
        inside, outside = inside | there, outside | here
    if left := _PRODUCTS & outside.keys():
        raise FlashneuronError(f"it leaves {', '.join(sorted(left))} to the CPU")
    planning = MemoryPlanningPass(alloc_graph_input=False, alloc_graph_output=False)
    program = edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning))
    return program, {"delegated": dict(inside), "outside": dict(outside)}


def _quantized(method: _Method, target: HtpTarget) -> nn.Module:
    if target.dtype == "fp16":
        return method.module
    from executorch.backends.qualcomm.quantizer.quantizer import QnnQuantizer, QuantDtype
    from executorch.backends.qualcomm.serialization.qc_schema import QcomChipset
    from torchao.quantization.pt2e import MinMaxObserver
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = QnnQuantizer(soc_model=getattr(QcomChipset, target.soc))
    kind = getattr(QuantDtype, _QUANTIZED[target.dtype])
    quantizer.set_default_quant_config(kind, is_linear_per_channel=True, act_observer=MinMaxObserver)
    with torch.no_grad():
        prepared = prepare_pt2e(torch.export.export(method.module, method.samples[0], strict=True).module(), quantizer)
        for sample in method.samples:
            prepared(*sample)
        for observer in prepared.modules():
            if isinstance(observer, MinMaxObserver) and observer.quant_max == 0xFFFF:  # of an activation
                observer.min_val.mul_(_HEADROOM)
                observer.max_val.mul_(_HEADROOM)
        converted: nn.Module = convert_pt2e(prepared)
    return converted


def _errors(target: HtpTarget, method: _Method, tests: list[Inputs], names: Sequence[str]) -> dict[str, float]:
    """Of each output the largest error on the emulator, as a share of the output's largest number in fp32."""
    from executorch.runtime import Runtime

    program, _ = _compile(target, {"forward": method}, share=False)
    loaded = Runtime.get().load_program(bytes(program.buffer)).load_method("forward")
    worst = dict.fromkeys(names, 0.0)
    for test in tests:
        with torch.no_grad():
            expected = method.module(*test)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for name, found, reference in zip(names, loaded.execute(list(test)), expected, strict=True):
            error = float((found - reference).abs().max() / reference.abs().max())
            worst[name] = max(worst[name], error)
    return worst


@contextmanager
def _session(path: Path, target: HtpTarget) -> Iterator[None]:
    """QNN's libraries loaded, and what they print kept out of sight but for the reason of a failure."""
    os.environ["QNN_SDK_ROOT"] = ""  # set: the SDK is ours to bring, and nothing is downloaded
    with quiet(), _hidden_output() as log:
        try:
            # Found by their names from here on, wherever they lie. After torch: the other way round the process dies.
            for name in ("libQnnSystem.so", "libQnnHtp.so"):
                ctypes.CDLL(str(target.libraries / name), ctypes.RTLD_GLOBAL)
            yield
        except Exception as error:
            what = f"{path.name}: the QNN compiler refused it for {target.soc}: {_reason(log(), error)}"
            raise FlashneuronError(
                f"{what}; choose smaller --contexts, another --soc or --attention, or --backend xnnpack"
            ) from error


def _reason(log: str, error: Exception) -> str:
    lines = [re.sub(r"^.*?\[ERROR\][^:]*:\s*(<E>)?\s*", "", line) for line in log.splitlines() if "[ERROR]" in line]
    return (lines or [f"{type(error).__name__}: {error}".splitlines()[0]])[0].strip().rstrip(".")


@contextmanager
def _hidden_output() -> Iterator[Any]:
    """File descriptors 1 and 2 go to a temporary file; yields a function that gives its text so far."""
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        kept = [(fd, os.dup(fd)) for fd in (1, 2)]
        try:
            for fd, _ in kept:
                os.dup2(file.fileno(), fd)
            yield lambda: os.pread(file.fileno(), 1 << 20, max(0, file.seek(0, 2) - (1 << 20))).decode(errors="replace")
        finally:
            for fd, copy in kept:
                os.dup2(copy, fd)
                os.close(copy)
