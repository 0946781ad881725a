"""The perplexities of what an export stores, against eager transformers."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import tiny_opt
import torch
from transformers import OPTForCausalLM

from flashneuron.export.embedding import write_embedding
from flashneuron.export.ffn import write_ffn
from flashneuron.export.golden import StoredModel
from flashneuron.export.precision import measure_precision
from flashneuron.model.folder import open_model
from flashneuron.package.layout import DType, float_dtype
from flashneuron.progress import SilentProgress

SEQUENCES = [np.array([2, *np.random.default_rng(i).integers(3, 90, 30)]) for i in range(3)]


@pytest.fixture(scope="module")
def model() -> OPTForCausalLM:
    return tiny_opt.make_model()


def stored(model: OPTForCausalLM, out: Path, dtype: DType) -> StoredModel:
    folder, quiet = open_model(tiny_opt.save_safetensors(model, out / "model")), SilentProgress()
    embedding = write_embedding(folder.spec, folder.weights, out, float_dtype(dtype), quiet)
    ffn = write_ffn(folder.spec, folder.weights, out, dtype, ("bundled",), quiet)
    return StoredModel(folder.spec, folder.weights, out, embedding, ffn, "fp32")


def expected(model: OPTForCausalLM) -> float:
    with torch.no_grad():
        losses = [model(ids, labels=ids).loss.item() for ids in torch.from_numpy(np.stack(SEQUENCES)).split(1)]
    return math.exp(sum(losses) / len(losses))  # sequences are of one length


def test_fp32_is_what_transformers_computes(model: OPTForCausalLM, tmp_path: Path) -> None:
    found = measure_precision(stored(model, tmp_path, "fp32"), SEQUENCES, SilentProgress())
    assert found is not None
    assert (found["ffn"], found["attention"], found["tokens"]) == ("fp32", "fp32", 90)
    assert found["fp32"] == pytest.approx(expected(model), rel=1e-5)
    assert found["stored"] == pytest.approx(found["fp32"], rel=1e-5)


def test_stored_is_what_transformers_computes_with_rounded_neurons(model: OPTForCausalLM, tmp_path: Path) -> None:
    files = stored(model, tmp_path, "int4")
    found = measure_precision(files, SEQUENCES, SilentProgress())
    rounded = OPTForCausalLM(model.config)
    rounded.load_state_dict(model.state_dict())
    for index, layer in enumerate(rounded.model.decoder.layers):
        ffn = files.ffn(index)
        layer.fc1.weight.data, layer.fc2.weight.data = ffn.up, ffn.down.contiguous()
    table = rounded.model.decoder.embed_tokens.weight.data
    head = table.clone()
    table.copy_(table.half())  # of the embedding, not of the head
    positions = rounded.model.decoder.embed_positions.weight.data
    positions.copy_(positions.half())
    rounded.lm_head.weight = torch.nn.Parameter(head)
    assert found is not None
    assert found["stored"] == pytest.approx(expected(rounded.eval()), rel=1e-5)
    assert found["stored"] != pytest.approx(found["fp32"], rel=1e-4)


def test_it_is_kept_and_needs_a_text(model: OPTForCausalLM, tmp_path: Path) -> None:
    files = stored(model, tmp_path, "int8")
    assert measure_precision(files, [], SilentProgress()) is None
    found = measure_precision(files, SEQUENCES, SilentProgress())
    assert measure_precision(dataclasses.replace(files, weights={}), SEQUENCES, SilentProgress()) == found
