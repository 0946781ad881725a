"""Synthetic weights: the published sparsity, measured; determinism; and other families through transformers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from flashneuron.model.folder import open_model
from flashneuron.progress import SilentProgress
from flashneuron.synth import draws
from flashneuron.synth.create import create_folder
from flashneuron.synth.measure import calibration_ids, measure, random_ids
from flashneuron.synth.model import SyntheticModel
from flashneuron.synth.neurons import drawn_selections, layer_neurons, predictor_rank, shares
from flashneuron.synth.shapes import SHAPES, Shape, opt
from flashneuron.synth.statistics import PUBLISHED, layer_sparsity, run_length
from flashneuron.synth.tokenizer import FIRST_WORD, make_tokenizer, word_of

TINY = opt("tiny", 3, 64, 4, vocabulary=1000, context=200)
QUIET = SilentProgress()


def small(name: str, **changes: Any) -> Shape:
    """A family's config with a small model's sizes."""
    return Shape(f"small {name}", SHAPES[name].config | changes)


def test_sparsity_is_the_published_one() -> None:
    model = SyntheticModel(opt("medium", 6, 1024, 16, vocabulary=2000, context=256), seed=3)
    neurons, ids = model.weights.neurons, calibration_ids(model.spec, 3)
    found = measure(model.spec, model.weights, lambda layer: neurons(layer).predictor(), ids, QUIET)
    for name in ("predicted", "firing", "recall", "union", "new", "run_length"):
        assert getattr(found.sparsity, name) == pytest.approx(getattr(PUBLISHED, name), rel=0.1), name
    assert found.sparsity.similarity == pytest.approx(0.95, abs=0.02)
    assert [row.rank for row in found.rows] == [32, 32, 32, 256, 256, 256]
    for row in found.rows:
        assert row.predicted_density == pytest.approx(0.1, rel=0.1)


def test_clusters_are_what_an_order_pass_can_find() -> None:
    """Laid cluster by cluster; over other tokens than any pass saw."""
    shape = opt("one layer", 1, 512, 8)
    neurons = layer_neurons(shape, 0, 0)
    selected = neurons.predictor().selects(torch.randn(400, 512, generator=torch.Generator().manual_seed(0))).numpy()
    correlation = torch.corrcoef(neurons.b)
    order, left = [0], set(range(1, shape.ffn_size))
    while left:  # the next one is the likest one
        best = max(left, key=lambda neuron: float(correlation[order[-1], neuron]))
        order.append(best)
        left.remove(best)
    unordered, ordered = run_length(selected), run_length(selected[:, order])
    assert unordered == pytest.approx(1.06, rel=0.1)
    assert ordered == pytest.approx(3.12, rel=0.15)


def test_drawn_selections_are_like_those_of_the_model() -> None:
    shape = opt("medium", 3, 512, 8, vocabulary=1000, context=64)
    for layer, (selected, _) in enumerate(drawn_selections(shape, 0, 0.95)):
        share = layer_neurons(shape, 0, layer).share.numpy()
        assert selected.mean() == pytest.approx(0.1, rel=0.05)
        assert np.corrcoef(selected.mean(axis=0), share)[0, 1] > 0.99
        found = layer_sparsity(selected)
        assert found.union == pytest.approx(PUBLISHED.union, rel=0.1)
        assert found.new == pytest.approx(PUBLISHED.new, rel=0.1)
    assert layer == 2


def test_shares_are_those_of_the_design() -> None:
    p = shares(16384)
    assert (np.diff(p) >= 0).all()
    assert p.mean() == pytest.approx(0.1, rel=0.002)
    assert (1 - (1 - p) ** 5).mean() == pytest.approx(0.24, rel=0.05)
    assert (p * (1 - p) ** 4).mean() == pytest.approx(0.024, rel=0.03)


def test_the_predictor_is_exact_in_half_precision() -> None:
    predictor = layer_neurons(TINY, 0, 1).predictor()
    rounded = predictor.rounded("fp16")
    assert torch.equal(rounded.a, predictor.a)
    assert torch.equal(rounded.b, predictor.b)


def test_ranks_follow_the_width() -> None:
    big = SHAPES["opt-6.7b"]
    assert [predictor_rank(big, layer) for layer in (0, 27, 28, 31)] == [128, 128, 1024, 1024]
    assert predictor_rank(SHAPES["opt-125m"], 0) == 32


def test_tensors_follow_from_seed_and_name() -> None:
    first, same, other = (SyntheticModel(TINY, seed).weights for seed in (1, 1, 2))
    for name in ("embed.tokens", "layers.2.attn.o.weight", "layers.0.ffn.up.weight", "layers.0.ffn.down.bias"):
        assert torch.equal(first[name], same[name])
        assert not torch.equal(first[name], other[name])
        assert first[name].dtype == torch.float16
    assert "layers.3.ffn.up.weight" not in first
    assert "layers.x.ffn.up.weight" not in first
    with pytest.raises(KeyError):
        first["layers.0.ffn.gate.weight"]


def test_draws_do_not_depend_on_how_they_are_cut() -> None:
    whole = draws.matrix(0, "x", 40, 1 << 16, 1.0)
    assert draws.matrix(0, "x", 40, 1 << 16, 1.0).equal(whole)
    assert float(whole.float().std()) == pytest.approx(1, rel=0.01)
    assert float(whole.float().mean()) == pytest.approx(0, abs=0.01)


def test_ids_are_all_different() -> None:
    ids = random_ids(50272, 0, "benchmark", 256)
    assert len(set(ids.tolist())) == 256
    assert ids.min() >= FIRST_WORD
    assert not np.array_equal(ids, random_ids(50272, 0, "calibration", 256))


def test_every_id_is_a_word_that_encodes_to_it() -> None:
    tokenizer = make_tokenizer(50272, 2)
    assert tokenizer.get_vocab_size() == 50272
    for token in (FIRST_WORD, FIRST_WORD + 1, 17835, 17836, 17837, 50271):
        assert tokenizer.encode(word_of(token), add_special_tokens=False).ids == [token]
        assert tokenizer.decode([token]) == word_of(token)
    text = "Übergrößenträger 42"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_an_opt_folder_is_the_model(tmp_path: Path) -> None:
    statistics = create_folder(TINY, 5, tmp_path / "m", QUIET)
    folder, model = open_model(tmp_path / "m"), SyntheticModel(TINY, 5)
    assert folder.synthetic
    assert folder.spec == model.spec
    for name in ("embed.positions", "final_norm.weight", "layers.1.ffn.down.weight", "layers.2.ffn.up.bias"):
        assert torch.equal(folder.weights[name], model.weights[name])
    assert json.loads((tmp_path / "m" / "statistics.json").read_bytes())["synthetic"] == statistics
    assert statistics["published"] == dataclasses.asdict(PUBLISHED)
    assert statistics["reached"]["predicted"] == pytest.approx(0.1, rel=0.5)
    AutoModelForCausalLM.from_pretrained(tmp_path / "m")(torch.tensor([[2, 300, 301]]))


FALCON = small("falcon-7b", num_hidden_layers=4, hidden_size=512, ffn_hidden_size=2048, num_attention_heads=8,
               vocab_size=2000, max_position_embeddings=256)  # fmt: skip
LLAMA = small("llama-2-7b", num_hidden_layers=4, hidden_size=512, intermediate_size=1536, num_attention_heads=8,
              num_key_value_heads=8, vocab_size=2000, max_position_embeddings=256)  # fmt: skip


@pytest.mark.parametrize(("shape", "gate"), [(FALCON, "dense_h_to_4h"), (LLAMA, "gate_proj")])
def test_a_family_without_biases_is_as_sparse(shape: Shape, gate: str, tmp_path: Path) -> None:
    """As transformers runs it, layer by layer."""
    statistics = create_folder(shape, 0, tmp_path / "m", QUIET)
    for name in ("predicted", "firing", "recall"):
        assert statistics["reached"][name] == pytest.approx(getattr(PUBLISHED, name), rel=0.15), name
    folder, same = open_model(tmp_path / "m"), SyntheticModel(shape, 0)
    assert folder.spec == same.spec
    for name in ("embed.tokens", "layers.1.attn.k.weight", "layers.2.ffn.up.weight", "layers.3.ffn.down.weight"):
        assert torch.equal(folder.weights[name], same.weights[name])
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float32)
    found = []
    for name, module in model.named_modules():
        if name.endswith(gate):
            module.register_forward_hook(
                lambda module, inputs, output: found.append(float((output > 0).float().mean()))
            )
    with torch.no_grad():
        model(torch.from_numpy(random_ids(2000, 0, "test", 200))[None])
    assert len(found) == 4
    for share in found:
        assert share == pytest.approx(0.033, rel=0.1)
