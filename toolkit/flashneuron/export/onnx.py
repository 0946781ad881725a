"""Attention, head and predictors as ONNX, for vendors whose tools take that: standard operators, any number of tokens
and of cache rows, weights in fp32 or fp16. Each file is run by onnxruntime on calibration text and compared with eager
PyTorch before it counts as written.

The files lie beside the package, in `<PKG>.onnx/`: no device needs them.

    layer_LLL.onnx      residual, ffn_out [tokens, d]; k_cache, v_cache [cached, kv]; mask [tokens, rows], all fp32, as
                        in FORMAT.md's programs for an NPU → residual_out, ffn_input [tokens, d]; k, v [tokens, kv]
    head.onnx           residual, ffn_out [tokens, d] → logits [tokens, vocab_size]
    predictor_LLL.onnx  ffn_input (or what else predictors take) [tokens, d] → scores [tokens, F]: a neuron is selected
                        where its score is over 0
    onnx.json           for each file the largest error, as a share of the output's largest number
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flashneuron.errors import FlashneuronError, InputError
from flashneuron.export.backends import quiet, report_path
from flashneuron.export.calibration import TextPass, calibration_ids
from flashneuron.export.static_graphs import StaticGraph
from flashneuron.export.texts import Ids
from flashneuron.export.worker import Worker
from flashneuron.model.blocks import BlockDtype, HeadBlock
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.model.standard_attention import StandardBlock
from flashneuron.package.atomic import atomic_path, atomic_write
from flashneuron.package.layout import PredictorInput
from flashneuron.package.predictor_file import LowRankPredictor, read_predictor
from flashneuron.progress import Progress

ONNX_SUFFIX, INDEX = ".onnx", "onnx.json"
_OPSET = 21
_TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2}
_CHECKS = (StaticGraph(1, 8), StaticGraph(4, 16), StaticGraph(3, 0))
_TOKENS = {0: "tokens"}

Inputs = tuple[Tensor, ...]


def check_onnx(output: Path) -> None:
    """Errors: InputError, with the fix."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise InputError(f"--onnx needs {package}; install the extra: pip install 'flashneuron[onnx]'")
    folder = onnx_folder(output)
    if folder.exists():
        raise InputError(f"{folder} exists; choose another output folder or remove it")


def onnx_folder(output: Path) -> Path:
    return output.with_name(output.name + ONNX_SUFFIX)


def export_onnx(
    spec: ModelSpec,
    weights: Weights,
    sequences: Sequence[Ids],
    predictors: Sequence[Path],
    predictor_input: PredictorInput,
    dtype: BlockDtype,
    folder: Path,
    progress: Progress,
) -> None:
    """Writes `folder`; what is in it already is kept. Integer attention types have fp16 weights here."""
    stored: BlockDtype = "fp32" if dtype == "fp32" else "fp16"
    tolerance = _TOLERANCE[torch.float32 if stored == "fp32" else torch.float16]
    attention = ["residual", "ffn_out", "k_cache", "v_cache", "mask"]
    shapes = [_TOKENS, _TOKENS, {0: "cached"}, {0: "cached"}, {0: "tokens", 1: "rows"}]
    total = spec.layers + 1 + len(predictors)
    with Worker() as worker, progress.step("ONNX", total, "files") as advance:

        def write(
            name: str, module: nn.Module, samples: list[Inputs], inputs: list[str], outputs: list[str], limit: float
        ) -> None:
            if not report_path(folder / name).exists():
                dynamic = shapes if inputs is attention else [_TOKENS] * len(inputs)
                worker.run(_write, folder / name, module.eval(), samples, inputs, outputs, dynamic, limit)
            advance(1)

        text = TextPass(spec, weights, calibration_ids(sequences, spec))
        for layer, (block, seen) in enumerate(text.layers()):
            block.set_dtype(stored)
            samples: list[Inputs] = []
            for graph in _CHECKS:
                *rest, keys, values, mask = seen.at(graph, min(graph.cached, len(seen.residual) - graph.tokens))
                samples.append((*rest, keys.float(), values.float(), mask))
            outputs = ["residual_out", "ffn_input", "k", "v"]
            write(f"layer_{layer:03}.onnx", StandardBlock(block), samples, attention, outputs, tolerance)
        head = HeadBlock(spec, weights)
        head.set_dtype(stored)
        rows: list[Inputs] = [(text.residual[:count], text.ffn_out[:count]) for count in (4, 1)]
        write("head.onnx", head, rows, attention[:2], ["logits"], tolerance)
        for layer, path in enumerate(predictors):
            module = _Scores(read_predictor(path))
            drawn: list[Inputs] = [(torch.randn(count, spec.hidden_size),) for count in (4, 1)]
            write(f"predictor_{layer:03}.onnx", module, drawn, [predictor_input], ["scores"], 1e-4)
    reports = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json")) if path.name != INDEX}
    atomic_write(folder / INDEX, json.dumps({f"{name}.onnx": error for name, error in reports.items()}).encode())
    for name in reports:
        (folder / f"{name}.json").unlink()


class _Scores(nn.Module):
    """B·f(A·x) + bias, of a predictor file."""

    def __init__(self, stored: LowRankPredictor) -> None:
        super().__init__()
        self.a, self.b, self.bias = (
            nn.Parameter(torch.from_numpy(x.astype("float32")), requires_grad=False)
            for x in (stored.a, stored.b, stored.bias)
        )
        self.between = nn.ReLU() if stored.relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.between(nn.functional.linear(x, self.a)), self.b, self.bias)


def _write(
    path: Path,
    module: nn.Module,
    samples: list[Inputs],
    inputs: list[str],
    outputs: list[str],
    dynamic: list[dict[int, str]],
    limit: float,
) -> None:
    """In the worker."""
    import onnxruntime

    largest = max(samples, key=lambda sample: sum(x.numel() for x in sample))
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            module, largest, dynamo=True, opset_version=_OPSET, dynamic_shapes=tuple(dynamic),
            input_names=inputs, output_names=outputs, verbose=False,
        )  # fmt: skip
        assert program is not None  # with dynamo
        with atomic_path(path) as temporary:
            program.save(temporary)
            session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
            error = max(_error(session, module, inputs, sample) for sample in samples)
            if not error <= limit:
                raise FlashneuronError(
                    f"{path.name} differs from PyTorch by {error:.1e}, over {limit:.0e}; report this"
                )
    atomic_write(report_path(path), json.dumps(error).encode())


def _error(session: Any, module: nn.Module, names: list[str], sample: Inputs) -> float:
    expected = module(*sample)
    found = session.run(None, {name: x.numpy() for name, x in zip(names, sample, strict=True)})
    pairs = zip(found, expected if isinstance(expected, tuple) else (expected,), strict=True)
    return max(float((torch.from_numpy(ours) - ref).abs().max() / ref.abs().max()) for ours, ref in pairs)
