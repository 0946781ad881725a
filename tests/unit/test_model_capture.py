"""Layer-by-layer capture sees what Hugging Face's OPT computes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import tiny_opt
import torch
from planted_opt import random_text
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM, OPTForCausalLM

from flashneuron.errors import ModelError
from flashneuron.model import capture as capture_module
from flashneuron.model import token_rows
from flashneuron.model.capture import Capture
from flashneuron.model.folder import ModelFolder, open_model
from flashneuron.predictor.evaluate import perplexity

SAMPLE = Path(__file__).parents[2] / "models" / "sample"
SHAPES = {
    "pre-norm": {},
    "post-norm": {"do_layer_norm_before": False},
    "projected": {"word_embed_proj_dim": 16},
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def model(request: pytest.FixtureRequest) -> OPTForCausalLM:
    return tiny_opt.make_model(**request.param)


@pytest.fixture
def folder(model: OPTForCausalLM, tmp_path: Path) -> ModelFolder:
    return open_model(tiny_opt.save_safetensors(model, tmp_path / "model"))


TEXT = [*random_text(3), *random_text(2, length=7), np.array([2])]


@torch.no_grad()
def reference(model: OPTForCausalLM) -> tuple[list[torch.Tensor], list[float]]:
    """Inputs of each fc1 [N, d] over TEXT, and the loss of each sequence."""
    seen: list[list[torch.Tensor]] = [[] for _ in model.model.decoder.layers]
    for inputs, layer in zip(seen, model.model.decoder.layers, strict=True):
        layer.fc1.register_forward_pre_hook(lambda _, args, inputs=inputs: inputs.append(args[0].reshape(-1, 32)))
    losses = []
    for ids in TEXT:
        logits = model(torch.from_numpy(ids)[None]).logits[0, :-1]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.from_numpy(ids[1:]), reduction="sum").item())
    return [torch.cat(inputs) for inputs in seen], losses


def test_ffn_inputs_and_losses_are_hugging_faces(model: OPTForCausalLM, folder: ModelFolder) -> None:
    inputs, losses = reference(model)
    capture = Capture(folder.spec, folder.weights, TEXT)
    for expected, layer in zip(inputs, capture.layers(), strict=True):
        torch.testing.assert_close(layer.ffn_input[:], expected, rtol=1e-4, atol=1e-4)
    assert list(capture.losses()) == pytest.approx(losses, rel=1e-5)


def test_chunks_and_files_change_nothing(folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    whole = perplexity(folder.spec, folder.weights, TEXT)
    monkeypatch.setattr(token_rows, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(capture_module, "CHUNK_BYTES", 3000)
    assert perplexity(folder.spec, folder.weights, TEXT, work_dir=work).nll == pytest.approx(whole.nll, rel=1e-6)
    assert list(work.iterdir()) == []


def test_only_selected_neurons_count(folder: ModelFolder) -> None:
    def loss(select: capture_module.Select | None) -> float:
        capture = Capture(folder.spec, folder.weights, TEXT)
        for _ in capture.layers(select):
            pass
        return math.fsum(capture.losses())

    ups = [(folder.weights[f"layers.{i}.ffn.up.weight"], folder.weights[f"layers.{i}.ffn.up.bias"]) for i in range(2)]
    dense = loss(None)
    assert loss(lambda layer, x: x @ ups[layer][0].T + ups[layer][1] > 0) == pytest.approx(dense, rel=1e-6)
    assert loss(lambda layer, x: torch.zeros(len(x), 48, dtype=torch.bool)) != pytest.approx(dense, rel=1e-5)


def test_another_models_tokens_are_refused(folder: ModelFolder) -> None:
    with pytest.raises(ModelError, match="token id 300 and the model's vocabulary 300"):
        Capture(folder.spec, folder.weights, [np.array([2, 300])])


@torch.no_grad()
def test_dense_perplexity_of_the_sample_is_transformers() -> None:
    folder = open_model(SAMPLE)
    tokenizer = Tokenizer.from_str(folder.tokenizer_json().decode())
    text = (SAMPLE / "heldout.txt").read_text(encoding="utf-8")[:20_000]
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    windows = [np.array([2, *ids[start : start + 255]]) for start in range(0, 4 * 255, 255)]
    model = AutoModelForCausalLM.from_pretrained(SAMPLE, dtype=torch.float32).eval()
    batch = torch.from_numpy(np.stack(windows))
    expected = math.exp(model(batch, labels=batch).loss.item())
    measured = perplexity(folder.spec, folder.weights, windows)
    assert measured.perplexity == pytest.approx(expected, rel=1e-4)
    assert measured.tokens == 4 * 255


def test_the_embedding_is_read_once_for_all_sequences(tmp_path: Path) -> None:
    """Weights are lazy: each access reads a table, of a large model hundreds of megabytes, from disk."""
    folder = open_model(tiny_opt.save_safetensors(tiny_opt.make_model(), tmp_path / "model"))
    read: list[str] = []

    class Counting(Mapping[str, Tensor]):
        def __getitem__(self, name: str) -> Tensor:
            read.append(name)
            return folder.weights[name]

        def __iter__(self) -> Iterator[str]:
            return iter(folder.weights)

        def __len__(self) -> int:
            return len(folder.weights)

        def __contains__(self, name: object) -> bool:
            return name in folder.weights

    Capture(folder.spec, Counting(), TEXT)
    assert len(TEXT) > 1
    assert sorted(read) == ["embed.positions", "embed.tokens"]
