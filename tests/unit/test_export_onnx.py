"""ONNX files, run by onnxruntime alone, against transformers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_opt
import torch

from flashneuron.errors import InputError
from flashneuron.export.onnx import INDEX, check_onnx, export_onnx, onnx_folder
from flashneuron.model.ffn import Ffn
from flashneuron.model.folder import open_model
from flashneuron.model.standard_attention import causal_mask
from flashneuron.package.predictor_file import LowRankPredictor, write_predictor
from flashneuron.progress import SilentProgress


@pytest.fixture(scope="module", params=["pre-norm", "post-norm"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path, Path]:
    """transformers' model, ours, the folder of ONNX files and that of predictors."""
    changes = {} if request.param == "pre-norm" else {"do_layer_norm_before": False}
    model, top = tiny_opt.make_model(**changes), tmp_path_factory.mktemp("onnx")
    folder = open_model(tiny_opt.save_safetensors(model, top / "model"))
    random = np.random.default_rng(1)
    for layer in range(folder.spec.layers):
        shapes = {"bias": (folder.spec.ffn_size,), "a": (4, folder.spec.hidden_size), "b": (folder.spec.ffn_size, 4)}
        parts = {name: random.standard_normal(shape).astype("float32") for name, shape in shapes.items()}
        write_predictor(top / f"layer_{layer:03}.pred", LowRankPredictor(layer, **parts), "fp32")
    predictors, files = sorted(top.glob("*.pred")), top / "onnx"
    export_onnx(folder.spec, folder.weights, [], predictors, "ffn_input", "fp32", files, SilentProgress())
    return model, folder, top / "onnx", top


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run(loaded: Any, *inputs: torch.Tensor) -> list[torch.Tensor]:
    named = {slot.name: x.numpy() for slot, x in zip(loaded.get_inputs(), inputs, strict=True)}
    return [torch.from_numpy(found) for found in loaded.run(None, named)]


def test_greedy_tokens_are_transformers(exported: tuple[Any, Any, Path, Path]) -> None:
    """Prompt in two chunks, then token by token: caches of 0, 3, 5, 6 … rows."""
    model, folder, files, _ = exported
    spec, weights = folder.spec, folder.weights
    layers = [session(files / f"layer_{i:03}.onnx") for i in range(spec.layers)]
    head, ffns = session(files / "head.onnx"), [Ffn.load(spec, weights, i) for i in range(spec.layers)]
    caches = [[torch.zeros(0, spec.kv_heads * spec.head_size)] * 2 for _ in layers]
    prompt = [2, 17, 33, 5, 250]

    def step(ids: list[int], position: int) -> int:
        residual = weights["embed.tokens"][ids].float()
        residual = residual + weights["embed.positions"][position : position + len(ids)].float()
        ffn_out, mask = torch.zeros_like(residual), causal_mask(len(ids), position, position)
        for index, layer in enumerate(layers):
            residual, ffn_input, k, v = run(layer, residual, ffn_out, *caches[index], mask)
            caches[index] = [torch.cat(pair) for pair in zip(caches[index], (k, v), strict=True)]
            ffn_out = ffns[index](ffn_input)
        (logits,) = run(head, residual, ffn_out)
        return int(logits[-1].argmax())

    step(prompt[:3], 0)
    found = [step(prompt[3:], 3)]
    while len(found) < 12:
        found.append(step(found[-1:], len(prompt) + len(found) - 1))
    expected = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=[])
    assert found == expected[0, len(prompt) :].tolist()


def test_predictors_score_as_their_files_say(exported: tuple[Any, Any, Path, Path]) -> None:
    *_, files, top = exported
    random = np.random.default_rng(1)
    bias, a, b = (random.standard_normal(shape).astype("float32") for shape in ((48,), (4, 32), (48, 4)))
    x = torch.randn(7, 32)
    (scores,) = run(session(files / "predictor_000.onnx"), x)
    torch.testing.assert_close(scores, torch.from_numpy(x.numpy() @ a.T @ b.T + bias), atol=1e-4, rtol=1e-4)
    assert len(list(files.glob("predictor_*.onnx"))) == len(list(top.glob("*.pred")))


def test_operators_are_standard_and_errors_are_listed(exported: tuple[Any, Any, Path, Path]) -> None:
    *_, files, _ = exported
    errors = json.loads((files / INDEX).read_text())
    assert set(errors) == {path.name for path in files.glob("*.onnx")}
    assert {path.suffix for path in files.iterdir()} == {".onnx", ".json"}
    assert 0 < max(errors.values()) < 1e-4
    for name in errors:
        model = onnx.load(files / name)
        assert {node.domain for node in model.graph.node} == {""}
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "tokens"


def test_missing_packages_and_an_old_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "p.fnpkg"
    check_onnx(output)
    onnx_folder(output).mkdir()
    with pytest.raises(InputError, match=r"p\.fnpkg\.onnx exists"):
        check_onnx(output)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(InputError, match=r"needs onnxscript; .*flashneuron\[onnx\]"):
        check_onnx(output)
