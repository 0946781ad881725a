"""Programs are written whole, once, and in the shapes of FORMAT.md. What they compute is tested in the runtime."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from test_blocks import SHAPES, canonical, spec_of, tiny_opt

from flashneuron.errors import InputError
from flashneuron.export.attention import check_attention, export_attention, program_bytes
from flashneuron.export.backends import report_path
from flashneuron.model.blocks import BlockDtype
from flashneuron.progress import SilentProgress


class Unreadable(dict[str, torch.Tensor]):
    """Weights that must not be read."""

    def __getitem__(self, name: str) -> torch.Tensor:
        raise AssertionError(f"{name} was read")


def test_one_program_a_layer_and_one_for_the_head(tmp_path: Path) -> None:
    model = tiny_opt(**SHAPES["pre-norm"])
    spec, weights = spec_of(model.config), canonical(model)
    entry = export_attention(spec, weights, tmp_path, "fp16", 8, SilentProgress())
    assert entry == {
        "backend": "xnnpack",
        "dtype": "fp16",
        "max_chunk": 8,
        "layers": [f"attention/xnnpack/layer_00{layer}.pte" for layer in range(3)],
        "head": "head.xnnpack.pte",
    }
    programs = {*entry["layers"], entry["head"]}
    reports = {report_path(Path(name)).as_posix() for name in programs}
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == programs | reports
    assert all((tmp_path / name).read_bytes()[4:8] == b"ET12" for name in programs)

    # A second run reads no weight: it would have nothing left to do but what an interruption left out.
    (tmp_path / entry["head"]).unlink()
    with pytest.raises(AssertionError, match="was read"):
        export_attention(spec, Unreadable(weights), tmp_path, "fp16", 8, SilentProgress())
    assert not (tmp_path / entry["head"]).exists()
    export_attention(spec, weights, tmp_path, "fp16", 8, SilentProgress())
    assert export_attention(spec, Unreadable(weights), tmp_path, "fp16", 8, SilentProgress()) == entry


@pytest.mark.parametrize("max_chunk", [0, 1, 41])
def test_a_chunk_out_of_range_is_refused(tmp_path: Path, max_chunk: int) -> None:
    model = tiny_opt(**SHAPES["pre-norm"])
    with pytest.raises(InputError, match="choose 2 to 40"):
        export_attention(spec_of(model.config), canonical(model), tmp_path, "fp32", max_chunk, SilentProgress())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_integer_programs_are_as_small_as_estimated(tmp_path: Path, dtype: BlockDtype) -> None:
    model = tiny_opt(**SHAPES["pre-norm"])
    spec = spec_of(model.config)
    check_attention(spec, dtype)
    entry = export_attention(spec, canonical(model), tmp_path, dtype, 8, SilentProgress())
    assert entry["dtype"] == dtype
    size = sum((tmp_path / name).stat().st_size for name in [*entry["layers"], entry["head"]])
    assert size < program_bytes(spec, dtype) < program_bytes(spec, "fp32")


def test_int4_needs_a_width_of_whole_groups() -> None:
    spec = dataclasses.replace(spec_of(tiny_opt(**SHAPES["pre-norm"]).config), hidden_size=48)
    with pytest.raises(InputError, match="a multiple of 32, this model has 48; choose int8"):
        check_attention(spec, "int4")
    check_attention(spec, "int8")
