"""Attention and head for an NPU: files of several layers each (FORMAT.md, "Attention programs"). A file that is there
already is kept, so that an interrupted export goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flashneuron.errors import InputError
from flashneuron.export.backends import lowered
from flashneuron.export.calibration import LayerInputs, TextPass, calibration_ids
from flashneuron.export.qnn import HtpTarget, ProgramFile, lower_head, lower_layers
from flashneuron.export.recipe import ExportRecipe
from flashneuron.export.static_graphs import choose_contexts, graphs_of, group_layers
from flashneuron.export.texts import Ids
from flashneuron.export.worker import Worker
from flashneuron.model.blocks import AttentionBlock, HeadBlock
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.progress import Progress
from flashneuron.qnn import QnnSdk, check_soc, find_qnn

NpuDtype = Literal["fp16", "int8", "int4"]
_WEIGHT_BITS: dict[NpuDtype, int] = {"fp16": 16, "int8": 8, "int4": 4}
_GRAPH_BYTES = 256 << 10  # of a graph besides its weights


@dataclass(frozen=True)
class NpuRecipe:
    soc: str
    dtype: NpuDtype
    chunk: int
    contexts: tuple[int, ...]
    weight_sharing: bool
    sdk: QnnSdk

    @property
    def backend(self) -> str:
        return f"qnn-{self.soc.lower()}"


def npu_recipe(spec: ModelSpec, recipe: ExportRecipe) -> NpuRecipe | None:
    """What `recipe` asks of the NPU; None: nothing. Errors: InputError, naming the fix."""
    if "qnn" not in recipe.backends:
        if recipe.soc is not None or recipe.contexts is not None:
            option = "--contexts" if recipe.soc is None else "--soc"
            raise InputError(f"{option} is for the backend qnn; add --backend qnn, or xnnpack,qnn for both")
        return None
    if recipe.soc is None:
        raise InputError("--backend qnn needs the phone's chip: --soc SM8650 (getprop ro.soc.model says which it is)")
    soc = check_soc(recipe.soc)
    if recipe.attention == "fp32":
        raise InputError("--attention fp32 is not possible with --backend qnn; choose fp16, int8 or int4")
    chunk, contexts = min(recipe.max_chunk, spec.max_context), choose_contexts(recipe.contexts, spec.max_context)
    return NpuRecipe(soc, recipe.attention, chunk, contexts, recipe.weight_sharing, find_qnn())


def npu_bytes(spec: ModelSpec, recipe: ExportRecipe) -> int:
    """Size of the programs, roughly and from above."""
    npu = npu_recipe(spec, recipe)
    if npu is None:
        return 0
    q, kv, d = spec.heads * spec.head_size, spec.kv_heads * spec.head_size, spec.hidden_size
    layer = d * (2 * q + 2 * kv) * _WEIGHT_BITS[npu.dtype] // 8
    graphs = 2 * len(npu.contexts)
    copies = 1 if npu.weight_sharing else graphs
    return spec.layers * (copies * layer + graphs * _GRAPH_BYTES) + spec.vocab_size * d * 2 + _GRAPH_BYTES


def export_npu_attention(
    spec: ModelSpec,
    weights: Weights,
    sequences: Sequence[Ids],
    folder: Path,
    recipe: NpuRecipe,
    progress: Progress,
    records: Path | None = None,
) -> dict[str, Any]:
    """Writes the programs, and ETRecords to `records`; returns their entry of the manifest's `attention` list."""
    graphs = tuple(graphs_of(recipe.chunk, recipe.contexts))
    groups, head = group_layers(spec, _WEIGHT_BITS[recipe.dtype], len(graphs)), f"head.{recipe.backend}.pte"
    names = [f"attention/{recipe.backend}/layers_{group.start:03d}_{group.stop - 1:03d}.pte" for group in groups]
    target = HtpTarget(recipe.soc, recipe.dtype, graphs, recipe.weight_sharing, recipe.sdk.host_libraries)
    with (
        Worker(restart_bytes=0) as worker,  # the compiler keeps what it took
        progress.step(f"attention programs for {recipe.soc}", spec.layers + 1, "layers") as advance,
    ):
        if not all(lowered(folder / name) for name in [*names, head]):
            waiting: list[tuple[int, AttentionBlock, LayerInputs]] = []
            files = dict(zip((group.stop - 1 for group in groups), names, strict=True))
            text = TextPass(spec, weights, calibration_ids(sequences, spec))
            for index, (block, seen) in enumerate(text.layers()):
                waiting.append((index, block, seen))
                if (name := files.get(index)) is not None:
                    if not lowered(folder / name):
                        worker.run(lower_layers, ProgramFile(folder, name, records), target, waiting)
                    advance(len(waiting))
                    waiting = []
            if not lowered(folder / head):
                file = ProgramFile(folder, head, records)
                worker.run(lower_head, file, target, HeadBlock(spec, weights), text.residual, text.ffn_out)
            advance(1)
    by_layer = [name for group, name in zip(groups, names, strict=True) for _ in group]
    facts = {"contexts": recipe.contexts, "weight_sharing": recipe.weight_sharing, "sdk": recipe.sdk.version}
    entry = {"backend": recipe.backend, "dtype": recipe.dtype, "max_chunk": recipe.chunk, **facts}
    return {**entry, "layers": by_layer, "head": head}
