"""A head with a matrix of its own is exported, rounded and run as a tied one is. On this machine as the device."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch
from conftest import SAMPLE
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from flashneuron.export.pipeline import export_model
from flashneuron.export.recipe import ExportRecipe
from flashneuron.model.blocks import AttentionBlock, BlockDtype, HeadBlock, empty_cache
from flashneuron.model.folder import open_model
from flashneuron.package.manifest import Package
from flashneuron.profile.session import open_session
from flashneuron.profile.settings import RunSettings
from flashneuron.progress import SilentProgress


def untie(folder: Path, layers: int, noise: float = 0.2) -> Path:
    """The first layers of the sample model, its head as far off the embedding that it was tied to."""
    model = AutoModelForCausalLM.from_pretrained(SAMPLE, dtype=torch.float32, num_hidden_layers=layers).eval()
    model.config.tie_word_embeddings = False
    head = model.lm_head.weight.detach()
    drawn = torch.randn(head.shape, generator=torch.Generator().manual_seed(4))
    model.lm_head.weight = torch.nn.Parameter(head + noise * head.std() * drawn, requires_grad=False)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "calibration.txt"):
        shutil.copyfile(SAMPLE / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def sequences() -> list[list[int]]:
    ids = Tokenizer.from_file(str(SAMPLE / "tokenizer.json")).encode((SAMPLE / "heldout.txt").read_text()).ids[1:]
    return [[2, *ids[start : start + 127]] for start in range(0, 8 * 127, 127)]


@torch.no_grad()
def perplexity(folder: Path, attention: BlockDtype, sequences: list[list[int]]) -> float:
    """By the blocks in PyTorch."""
    model = open_model(folder)
    spec, weights = model.spec, model.weights
    blocks = [AttentionBlock(spec, layer, weights) for layer in range(spec.layers)]
    head, cache, zero, nll = HeadBlock(spec, weights), empty_cache(spec), torch.zeros(1, dtype=torch.int64), 0.0
    for block in (*blocks, head):
        block.set_dtype(attention)
    for ids in sequences:
        residual = weights["embed.tokens"][ids] + weights["embed.positions"][: len(ids)]
        ffn_out = torch.zeros_like(residual)
        for layer, block in enumerate(blocks):
            residual, x, _, _ = block(residual, ffn_out, cache, cache, zero)
            up, up_bias, down, down_bias = (
                weights[f"layers.{layer}.ffn.{part}"] for part in ("up.weight", "up.bias", "down.weight", "down.bias")
            )
            ffn_out = torch.relu(x @ up.T + up_bias) @ down.T + down_bias
        logits = head(residual, ffn_out)[:-1]
        nll += float(torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum"))
    return math.exp(nll / sum(len(ids) - 1 for ids in sequences))


@pytest.mark.parametrize("attention", ["fp32", "int8", "int4"])
def test_an_untied_head_runs_as_the_blocks_compute_it(
    attention: BlockDtype, sequences: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # a host device of its own
    folder = untie(tmp_path / "model", layers=2)
    recipe = ExportRecipe(dtype="fp32", attention=attention, predictor="none")
    package = export_model(folder, tmp_path / "p.fnpkg", recipe, SilentProgress())
    assert_head_bytes(package, {"fp32": 4, "int8": 1, "int4": 1}[attention])
    with open_session(package, "host", SilentProgress()) as session:
        scores = session.score(RunSettings(kv="fp32", predictor="none"), sequences, lambda tokens: None)
    found = math.exp(scores.nll / scores.tokens)
    # Inputs that lie halfway between two integers may be rounded to either.
    tolerance = 1e-4 if attention == "fp32" else 5e-3
    assert found == pytest.approx(perplexity(folder, attention, sequences), rel=tolerance)
    with_the_embedding = perplexity(untie(tmp_path / "tied", layers=2, noise=0), attention, sequences)
    assert found != pytest.approx(with_the_embedding, rel=2 * tolerance)


def test_rounding_an_untied_head_costs_what_rounding_may_cost(sequences: list[list[int]], tmp_path: Path) -> None:
    folder = untie(tmp_path / "model", layers=6)
    exact = perplexity(folder, "fp32", sequences)
    assert perplexity(folder, "int8", sequences) == pytest.approx(exact, rel=5e-3)
    assert perplexity(folder, "int4", sequences) == pytest.approx(exact, rel=3e-2)


def assert_head_bytes(package: Package, element_bytes: int) -> None:
    facts = package.manifest.model
    weights = facts.vocab_size * facts.hidden_size * element_bytes
    (head,) = (entry.bytes for entry in package.manifest.files if entry.role == "head")
    assert weights <= head < weights + 16 * facts.vocab_size + (96 << 10)
