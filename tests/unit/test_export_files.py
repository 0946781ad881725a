"""What export writes, against transformers' tensors and logits."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_opt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import OPTForCausalLM

from flashneuron.errors import ModelError
from flashneuron.export import golden
from flashneuron.export.embedding import write_embedding
from flashneuron.export.ffn import plan_ffn, write_ffn
from flashneuron.export.golden import StoredModel, write_golden
from flashneuron.export.rounding import UP_CLIPS, rounded, stored_rows
from flashneuron.model.folder import ModelFolder, open_model
from flashneuron.package.elements import decode
from flashneuron.package.ffn_file import FfnShard
from flashneuron.package.layout import DType, float_dtype, numpy_dtype
from flashneuron.package.schema import FfnFacts
from flashneuron.progress import SilentProgress

FORMS = {
    "safetensors": lambda model, folder: tiny_opt.save_safetensors(model, folder),
    "sharded safetensors": lambda model, folder: tiny_opt.save_safetensors(model, folder, "20KB"),
    "bin": lambda model, folder: tiny_opt.save_bin(model, folder),
    "sharded bin, old prefix": lambda model, folder: tiny_opt.save_bin(model, folder, "decoder.", 3),
}


def records(folder: Path, facts: FfnFacts, layout: str, layer: int) -> np.ndarray[Any, Any]:
    """[F, 2 d]: up rows, then down columns."""
    variant = next(variant for variant in facts.variants if variant.layout == layout)
    parts = variant.layers[layer].parts(variant.layout).values()
    arrays = [np.concatenate([FfnShard.open(folder / name).records() for name in names]) for names in parts]
    return np.concatenate(arrays, axis=1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_records_are_the_models_tensors(form: str, dtype: DType, tmp_path: Path) -> None:
    model = tiny_opt.make_model()
    folder, out = open_model(FORMS[form](model, tmp_path / "model")), tmp_path / "out"
    facts = write_ffn(folder.spec, folder.weights, out, dtype, ("bundled", "split"), SilentProgress())
    for index, layer in enumerate(model.model.decoder.layers):
        expected = torch.cat([layer.fc1.weight, layer.fc2.weight.T], dim=1).detach().numpy().astype(numpy_dtype(dtype))
        for layout in ("bundled", "split"):
            assert np.array_equal(records(out, facts, layout, index), expected)
        biases = torch.cat([layer.fc1.bias, layer.fc2.bias]).detach().numpy()
        assert (out / facts.bias[index]).read_bytes() == biases.astype("<f4").tobytes()


@pytest.mark.parametrize(("dtype", "share"), [("bf16", 0.004), ("int8", 0.004), ("int4", 0.2)])
def test_quantised_weights_are_the_models_but_for_rounding(dtype: DType, share: float, tmp_path: Path) -> None:
    """Error of each vector as a share of its largest magnitude; the rows' own scales keep it small."""
    model = tiny_opt.make_model()
    folder = open_model(tiny_opt.save_safetensors(model, tmp_path / "model"))
    for layouts in (("bundled",), ("split",)):
        out = tmp_path / layouts[0]
        embedding = write_embedding(folder.spec, folder.weights, out, float_dtype(dtype), SilentProgress())
        facts = write_ffn(folder.spec, folder.weights, out, dtype, layouts, SilentProgress())
        ffn = StoredModel(folder.spec, folder.weights, out, embedding, facts, "fp32").layer(1)[1]
        layer = model.model.decoder.layers[1]
        for found, exact in ((ffn.up, layer.fc1.weight), (ffn.down.T, layer.fc2.weight.T)):
            error = (found - exact).abs().amax(1) / exact.abs().amax(1)
            assert 0 < error.max().item() < share


@pytest.mark.parametrize("dtype", ["fp16", "int8", "int4"])
def test_gated_neurons_are_gate_up_and_down(dtype: DType, tmp_path: Path) -> None:
    spec = open_model(Path(__file__).parents[2] / "models" / "sample").spec
    spec = dataclasses.replace(spec, layers=2, hidden_size=160, ffn_size=50, activation="drelu", gated=True)
    torch.manual_seed(3)
    shapes = {"gate.weight": (50, 160), "up.weight": (50, 160), "down.weight": (160, 50), "down.bias": (160,)}
    weights = {f"layers.{i}.ffn.{name}": torch.randn(shape) for i in range(2) for name, shape in shapes.items()}
    facts = write_ffn(spec, weights, tmp_path, dtype, ("bundled", "split"), SilentProgress())
    for index in range(2):
        gate, up, down = (weights[f"layers.{index}.ffn.{part}.weight"] for part in ("gate", "up", "down"))
        stored = [stored_rows(gate, dtype, "g", UP_CLIPS), stored_rows(up, dtype, "u", UP_CLIPS)]
        stored.append(stored_rows(down.T, dtype, "d"))
        expected = np.concatenate([rows.elements for rows in stored], axis=1)
        for layout in ("bundled", "split"):
            assert np.array_equal(records(tmp_path, facts, layout, index), expected)
        if facts.scales is not None:
            scales = b"".join(rows.scales.tobytes() for rows in stored if rows.scales is not None)
            assert (tmp_path / facts.scales[index]).read_bytes() == scales
        bias = np.fromfile(tmp_path / facts.bias[index], "<f4")
        assert not bias[:50].any(), "no up biases: zeros"
        assert np.array_equal(bias[50:], weights[f"layers.{index}.ffn.down.bias"].numpy())


def test_a_lost_scales_file_is_written_again(tmp_path: Path) -> None:
    folder = open_model(tiny_opt.save_safetensors(tiny_opt.make_model(), tmp_path / "model"))
    out = tmp_path / "out"
    facts = write_ffn(folder.spec, folder.weights, out, "int4", ("bundled",), SilentProgress())
    assert facts.scales is not None
    content = (out / facts.scales[1]).read_bytes()
    (out / facts.scales[1]).unlink()
    write_ffn(folder.spec, folder.weights, out, "int4", ("bundled",), SilentProgress())
    assert (out / facts.scales[1]).read_bytes() == content


def test_int4_clips_nothing_and_is_off_by_half_a_step() -> None:
    values = torch.from_numpy(np.random.default_rng(1).standard_normal((64, 300), np.float32))
    values[3] = 0
    values[4, 5] = 1000.0
    stored = stored_rows(values, "int4", "x")
    found = torch.from_numpy(decode(stored.elements, stored.scales, "int4", 300))
    for start in range(0, 300, 128):
        group = values[:, start : start + 128]
        step = group.abs().amax(1, keepdim=True) / 7
        assert ((found[:, start : start + 128] - group).abs() <= 0.51 * step).all()
    clipped = stored_rows(values, "int4", "x", UP_CLIPS)
    closer = torch.from_numpy(decode(clipped.elements, clipped.scales, "int4", 300))
    assert (closer - values).square().sum() < 0.97 * (found - values).square().sum()
    with pytest.raises(ModelError, match="--dtype int8"):
        stored_rows(values * 1e6, "int4", "x", UP_CLIPS)


@pytest.mark.parametrize("changes", [{}, {"word_embed_proj_dim": 16, "do_layer_norm_before": False}])
def test_embedding_rows_are_layer_0s_input(changes: dict[str, Any], tmp_path: Path) -> None:
    model = tiny_opt.make_model(**changes)
    folder = open_model(tiny_opt.save_safetensors(model, tmp_path))
    facts = write_embedding(folder.spec, folder.weights, tmp_path, "fp32", SilentProgress())
    table = np.fromfile(tmp_path / facts.file, "<f4").reshape(tiny_opt.VOCAB + 40, 32)
    seen: list[torch.Tensor] = []
    model.model.decoder.layers[0].register_forward_pre_hook(
        lambda module, inputs, kwargs: seen.append(inputs[0] if inputs else kwargs["hidden_states"]), with_kwargs=True
    )
    ids = [2, 250, 7, 7]
    with torch.no_grad():
        model(torch.tensor([ids]))
    expected = table[ids] + table[tiny_opt.VOCAB : tiny_opt.VOCAB + 4]
    assert np.allclose(expected, seen[0][0].numpy(), rtol=0, atol=1e-6)


def test_values_beyond_fp16_are_refused(tmp_path: Path) -> None:
    model = tiny_opt.make_model()
    with torch.no_grad():
        model.model.decoder.layers[1].fc2.weight[0, 0] = 1e6
    folder = open_model(tiny_opt.save_safetensors(model, tmp_path / "model"))
    with pytest.raises(ModelError, match=r"layers\.1\.ffn\.down\.weight .* --dtype fp32"):
        write_ffn(folder.spec, folder.weights, tmp_path / "out", "fp16", ("bundled",), SilentProgress())


@given(values=st.lists(st.floats(-6e4, 6e4, width=32), min_size=1, max_size=20))
@settings(deadline=None)
def test_rounding_is_to_nearest(values: list[float]) -> None:
    expected = np.array(values, np.float32).astype(np.float16)
    assert np.array_equal(rounded(torch.tensor(values), "fp16", "x"), expected)


def test_files_that_are_there_are_kept(tmp_path: Path) -> None:
    folder = open_model(tiny_opt.save_safetensors(tiny_opt.make_model(), tmp_path / "model"))
    out = tmp_path / "out"
    facts = write_ffn(folder.spec, folder.weights, out, "fp16", ("bundled",), SilentProgress())
    first, second = (out / layer.bundle[0] for layer in facts.variants[0].layers if layer.bundle)
    content = second.read_bytes()
    first.write_bytes(b"kept")
    second.unlink()
    write_ffn(folder.spec, folder.weights, out, "fp16", ("bundled",), SilentProgress())
    assert first.read_bytes() == b"kept"
    assert second.read_bytes() == content


def test_large_layers_are_cut_into_shards() -> None:
    spec = open_model(Path(__file__).parents[2] / "models" / "sample").spec
    spec = dataclasses.replace(spec, layers=1, hidden_size=12288, ffn_size=49152)
    variant = plan_ffn(spec, "fp16", ("bundled",)).variants[0]
    assert variant.neurons_per_shard == ((256 << 20) - 16384) // (2 * 12288 * 2)
    assert len(variant.layers[0].bundle or ()) == 10


def stored(folder: ModelFolder, out: Path, dtype: DType) -> StoredModel:
    quiet = SilentProgress()
    embedding = write_embedding(folder.spec, folder.weights, out, float_dtype(dtype), quiet)
    ffn = write_ffn(folder.spec, folder.weights, out, dtype, ("split",), quiet)
    return StoredModel(folder.spec, folder.weights, out, embedding, ffn, "fp32" if dtype == "fp32" else "fp16")


def reference(model: OPTForCausalLM, prompt: list[int], count: int) -> tuple[list[int], list[torch.Tensor]]:
    """Greedy ids by transformers, and each decoder layer's output at the prompt's last token."""
    seen: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda module, inputs, output: seen.append(output)) for layer in
        model.model.decoder.layers
    ]  # fmt: skip
    ids = list(prompt)
    with torch.no_grad():
        for step in range(count):
            logits = model(torch.tensor([ids]), use_cache=False).logits
            ids.append(int(logits[0, -1].argmax()))
            if not step:
                for hook in hooks:
                    hook.remove()
    outputs = [output[0] if isinstance(output, tuple) else output for output in seen]
    return ids[len(prompt) :], [output.reshape(-1, output.shape[-1])[-1] for output in outputs]


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("changes", [{}, {"word_embed_proj_dim": 16, "do_layer_norm_before": False}])
def test_golden_is_what_transformers_computes(
    changes: dict[str, Any], resident: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_opt.make_model(**changes)
    folder = open_model(tiny_opt.save_safetensors(model, tmp_path / "model"))
    monkeypatch.setattr(golden, "RESIDENT_BYTES", (1 << 30) if resident else 0)
    monkeypatch.setattr(golden, "NEW_TOKENS_STREAMED", 8)
    write_golden(stored(folder, tmp_path / "out", "fp32"), folder.tokenizer_json(), ["xnnpack"], SilentProgress())
    found = json.loads((tmp_path / "out" / "golden.json").read_text())
    assert found["prompt_ids"][0] == 2
    assert len(found["prompt_ids"]) == 17
    ids, layers = reference(model, found["prompt_ids"], len(found["token_ids"]))
    assert found["token_ids"] == ids
    assert len(ids) == (23 if resident else 8), "as many as the context of 40 holds, or the streamed number"
    if not changes:  # a post-LN layer's output is stored before its final norm
        for ours, theirs in zip(found["layers"], layers, strict=True):
            assert np.allclose(ours, theirs.numpy(), rtol=0, atol=1e-5)


def test_golden_uses_the_stored_weights(tmp_path: Path) -> None:
    """With fp16 records the numbers are those of a model whose weights were rounded, not of the source."""
    model = tiny_opt.make_model()
    folder = open_model(tiny_opt.save_safetensors(model, tmp_path / "model"))
    write_golden(stored(folder, tmp_path / "out", "fp16"), folder.tokenizer_json(), ["xnnpack"], SilentProgress())
    found = json.loads((tmp_path / "out" / "golden.json").read_text())
    exact = reference(model, found["prompt_ids"], 1)[1][-1].numpy()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name and not name.endswith(("fc1.bias", "fc2.bias")):  # those are stored as fp32
                parameter.copy_(parameter.half().float())
    close = reference(model, found["prompt_ids"], 1)[1][-1].numpy()
    assert np.abs(found["layers"][-1] - exact).max() > 10 * np.abs(found["layers"][-1] - close).max()
