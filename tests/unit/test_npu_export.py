"""What is asked of an NPU's compiler, what is refused before, and what it refuses itself. What it compiles:
tests/emulator/test_npu.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_standard_attention import SPEC
from torch import Tensor, nn

from flashneuron.errors import FlashneuronError, InputError
from flashneuron.export.calibration import LayerInputs
from flashneuron.export.npu_attention import npu_recipe
from flashneuron.export.qnn import HtpTarget, ProgramFile, lower_head
from flashneuron.export.recipe import ExportRecipe
from flashneuron.export.static_graphs import (
    FILE_BYTES,
    FILE_GRAPHS,
    StaticGraph,
    choose_contexts,
    graphs_of,
    group_layers,
    kv_heads_at_once,
)
from flashneuron.export.worker import Worker
from flashneuron.model.standard_attention import MASKED
from flashneuron.qnn import find_qnn


def test_contexts_reach_as_far_as_the_model() -> None:
    assert choose_contexts(None, 200) == (200,)
    assert choose_contexts(None, 512) == (256, 512)
    assert choose_contexts(None, 2048) == (256, 1024, 2048)
    assert choose_contexts(None, 100_000) == (256, 1024, 2048, 4096)
    assert choose_contexts([512, 64, 64], 512) == (64, 512)
    with pytest.raises(InputError, match="--contexts 513 is not possible"):
        choose_contexts([513], 512)


def test_each_context_has_decode_and_prefill() -> None:
    names = [graph.method(7) for graph in graphs_of(32, (256, 1024))]
    assert names == ["layer_007_t1_c256", "layer_007_t32_c256", "layer_007_t1_c1024", "layer_007_t32_c1024"]


@given(
    layers=st.integers(1, 80),
    width=st.sampled_from([64, 768, 2048, 4096]),
    bits=st.sampled_from([4, 8, 16]),
    graphs=st.integers(2, 24),
)
def test_files_hold_neighbours_up_to_their_size(layers: int, width: int, bits: int, graphs: int) -> None:
    spec = replace(SPEC, layers=layers, hidden_size=width, heads=width // 64, kv_heads=width // 64, head_size=64)
    groups = group_layers(spec, bits, graphs)
    assert [layer for group in groups for layer in group] == list(range(layers))
    assert len({len(group) for group in groups[:-1]}) <= 1
    layer_bytes = 4 * width**2 * bits // 8
    for group in groups:
        assert len(group) == 1 or (len(group) * layer_bytes <= FILE_BYTES and len(group) * graphs <= FILE_GRAPHS)
    assert len(groups) > 1 or layers == 1 or layers * graphs <= FILE_GRAPHS


def test_heads_are_attended_to_in_parts_that_fit_the_npus_memory() -> None:
    assert kv_heads_at_once(4, 64, 256) == 4
    assert kv_heads_at_once(32, 128, 512) == 32
    assert kv_heads_at_once(32, 128, 2048) == 8
    assert kv_heads_at_once(8, 256, 1 << 20) == 1


def test_samples_are_what_the_runtime_would_give() -> None:
    seen = LayerInputs(*(torch.arange(12.0)[:, None] + torch.zeros(12, width) for width in (8, 8, 4, 4)))
    residual, _, keys, _, mask = seen.at(StaticGraph(tokens=3, cached=6), position=5)
    assert residual[:, 0].tolist() == [5, 6, 7]
    assert keys[:, 0].tolist() == [0, 1, 2, 3, 4, 0]
    assert keys.dtype == torch.float16
    assert mask[1].tolist() == [0] * 5 + [MASKED] + [0, 0, MASKED]
    positions = seen.positions(StaticGraph(tokens=3, cached=6), 4)
    assert positions[0] == 0
    assert positions[-1] == 6, "no further than the cache reaches"
    assert seen.positions(StaticGraph(tokens=12, cached=6), 4) == [0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"soc": None}, "needs the phone's chip: --soc"),
        ({"soc": "SM1"}, "--soc SM1 is not known"),
        ({"attention": "fp32"}, "--attention fp32 is not possible"),
        ({"contexts": (65,)}, "--contexts 65"),
        ({"backends": ("xnnpack",)}, "--soc is for the backend qnn"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    recipe = ExportRecipe(**({"backends": ("qnn",), "soc": "SM8650"} | changes))
    with pytest.raises(InputError, match=message):
        npu_recipe(SPEC, recipe)


def test_nothing_is_asked_of_an_npu_without_a_word() -> None:
    assert npu_recipe(SPEC, ExportRecipe()) is None


class TooDeep(nn.Module):
    """Its tensors have more dimensions than a Hexagon's."""

    def forward(self, residual: Tensor, ffn_out: Tensor) -> Tensor:
        return ((residual + ffn_out).reshape(1, 1, 1, 1, 1, 1, 8) @ torch.ones(1, 1, 1, 1, 1, 8, 8)).reshape(1, 8)


def test_what_the_compiler_refuses_is_one_line_and_no_file(tmp_path: Path) -> None:
    target = HtpTarget("SM8650", "fp16", (StaticGraph(1, 16),), False, find_qnn().host_libraries)
    file, hidden = ProgramFile(tmp_path, "head.pte", None), torch.zeros(2, 8)
    with pytest.raises(FlashneuronError) as refused, Worker() as worker:
        worker.run(lower_head, file, target, TooDeep(), hidden, hidden)
    message = str(refused.value)
    assert message.startswith("head.pte: the QNN compiler refused it for SM8650: ")
    assert message.endswith("; choose smaller --contexts, another --soc or --attention, or --backend xnnpack")
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []
