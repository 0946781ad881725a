"""Hidden values of every activation, and thresholds that make a dense SwiGLU model as sparse as it was asked to be."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import tiny_opt
import torch
from command_line import command_line
from torch import Tensor

from flashneuron.errors import InputError
from flashneuron.export.activation_check import doubt_activation
from flashneuron.export.pipeline import open_source
from flashneuron.export.recipe import ExportRecipe
from flashneuron.model.ffn import Ffn
from flashneuron.model.folder import open_model
from flashneuron.model.spec import Activation, ThresholdOn
from flashneuron.model.thresholds import calibrate, with_thresholds
from flashneuron.predictor.evaluate import perplexity
from flashneuron.predictor.settings import LayerRow, PredictorSettings, PredictorTable
from flashneuron.progress import SilentProgress

SAMPLE = Path(__file__).parents[2] / "models" / "sample"
TEXT = [np.random.default_rng(seed).integers(4, 260, 60) for seed in range(12)]


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def zero_unless(fires: Tensor, value: Tensor) -> Tensor:
    return torch.where(fires, value, 0.0)


# activation, on, threshold, and the hidden value of g and u as the contract writes it.
CASES: dict[str, tuple[Activation, ThresholdOn, float, Callable[[Tensor, Tensor], Tensor]]] = {
    "relu": ("relu", "gate", 0.0, lambda g, u: zero_unless(g > 0, g * u)),
    "fatrelu": ("fatrelu", "gate", 0.4, lambda g, u: zero_unless(g > 0.4, g * u)),
    "drelu": ("drelu", "gate", 0.0, lambda g, u: zero_unless((g > 0) & (u > 0), g * u)),
    "dense": ("silu", "gate", 0.0, lambda g, u: silu(g) * u),
    "gate": ("silu", "gate", 0.2, lambda g, u: zero_unless(silu(g).abs() > 0.2, silu(g) * u)),
    "product": ("silu", "product", 0.3, lambda g, u: zero_unless((silu(g) * u).abs() > 0.3, silu(g) * u)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_hidden_values_and_who_fires(case: str) -> None:
    activation, on, threshold, formula = CASES[case]
    torch.manual_seed(0)
    x, gate, up, up_bias, down = (torch.randn(*shape) for shape in ((9, 16), (40, 16), (40, 16), (40,), (16, 40)))
    ffn = Ffn(up, up_bias, down, torch.randn(16), gate, activation, threshold, on)
    expected = formula(x @ gate.T, x @ up.T + up_bias)
    torch.testing.assert_close(ffn.hidden(x), expected)
    assert torch.equal(ffn.active(x), expected != 0)
    torch.testing.assert_close(ffn(x), expected @ down.T + ffn.down_bias)
    chosen = torch.rand(9, 40) > 0.5
    torch.testing.assert_close(ffn(x, chosen, torch.empty(9, 40)), (expected * chosen) @ down.T + ffn.down_bias)


@pytest.mark.parametrize("on", ["gate", "product"])
def test_as_many_are_silent_as_asked_and_eager_pytorch_agrees(on: ThresholdOn, tmp_path: Path) -> None:
    model = tiny_families.make("llama")
    folder = open_model(tiny_families.save(model, tmp_path))
    found = calibrate(folder.spec, folder.weights, TEXT[:8], TEXT[:8], on, 0.6, SilentProgress())
    assert found.silent == pytest.approx(0.6, abs=1e-3)
    held_out = calibrate(folder.spec, folder.weights, TEXT[:8], TEXT[8:], on, 0.6, SilentProgress())
    assert held_out.thresholds == found.thresholds
    assert held_out.silent == pytest.approx(0.6, abs=0.05)
    for layer, threshold in zip(model.model.layers, found.thresholds.layers, strict=True):
        layer.mlp.forward = eager_mlp(layer.mlp, on, threshold)
    with torch.no_grad():
        losses = [loss_of(model, ids) for ids in TEXT[8:]]
    expected = float(np.exp(np.sum(losses) / (4 * 59)))
    assert held_out.perplexity == pytest.approx(expected, rel=1e-5)
    spec = with_thresholds(folder.spec, found.thresholds)
    assert perplexity(spec, folder.weights, TEXT[8:]).perplexity == pytest.approx(expected, rel=1e-5)
    dense = perplexity(folder.spec, folder.weights, TEXT[8:]).perplexity
    assert dense != pytest.approx(expected, rel=1e-4)


def eager_mlp(mlp: Any, on: ThresholdOn, threshold: float) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        gate = silu(mlp.gate_proj(x))
        product = gate * mlp.up_proj(x)
        strength = (gate if on == "gate" else product).abs()
        return mlp.down_proj(zero_unless(strength > threshold, product))  # type: ignore[no-any-return]

    return forward


def loss_of(model: Any, ids: np.ndarray[Any, Any]) -> float:
    logits = model(torch.from_numpy(ids)[None]).logits[0, :-1]
    return float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(ids[1:]), reduction="sum"))


@pytest.fixture(scope="module")
def swiglu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_families.save(tiny_families.make("llama"), tmp_path_factory.mktemp("models") / "swiglu")
    (folder / "calibration.txt").write_text((SAMPLE / "calibration.txt").read_text()[:4000])
    (folder / "heldout.txt").write_text((SAMPLE / "heldout.txt").read_text()[:2000])
    return folder


def test_the_price_list(swiglu: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sparsity = command_line(monkeypatch, capsys, "sparsity")
    code, out, _ = sparsity(swiglu, "--sparsity", "0.4,0.8", "--format", "json")
    rows = json.loads(out)["rows"]
    assert code == 0
    assert [(row["on"], row["asked"]) for row in rows] == [
        ("gate", 0.0), ("gate", 0.4), ("gate", 0.8), ("product", 0.4), ("product", 0.8),
    ]  # fmt: skip
    assert all(row["silent"] == pytest.approx(row["asked"], abs=0.05) for row in rows)
    code, out, _ = sparsity(swiglu, "--sparsity", "0.4", "--threshold-on", "gate")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["dense", "gate"]
    for options, words in (
        (["--sparsity", "1"], "--sparsity 1"), (["--sparsity", "x"], "--sparsity x"),
        (["--threshold-on", "up"], "there are gate and product"),
    ):  # fmt: skip
        code, _, err = sparsity(swiglu, *options)
        assert code == 2
        assert words in err
        assert err.count("\n") == 1


def test_a_choice_is_needed_where_there_is_one(swiglu: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dense SwiGLU model.*--sparsity 0\.5"):
        open_source(swiglu, ExportRecipe())
    with pytest.raises(InputError, match="add --predictor none"):
        open_source(swiglu, ExportRecipe(sparsity=0))
    relu = tiny_opt.save_safetensors(tiny_opt.make_model(), tmp_path)
    with pytest.raises(InputError, match="--sparsity is for dense SwiGLU models"):
        open_source(relu, ExportRecipe(sparsity=0.5, predictor="none"))


def test_an_export_keeps_its_thresholds_and_their_price(swiglu: Path, tmp_path: Path) -> None:
    recipe = ExportRecipe(sparsity=0.5, threshold_on="product", predictor="none")
    source = open_source(swiglu, recipe).with_thresholds(recipe, tmp_path, SilentProgress())
    thresholds = source.model.spec.thresholds
    assert thresholds is not None
    assert thresholds.on == "product"
    assert all(threshold > 0 for threshold in thresholds.layers)
    facts = source.statistics()["sparsity"]
    assert facts["chosen"]["silent"] == pytest.approx(0.5, abs=0.05)
    assert facts["dense"]["silent"] == 0
    (swiglu / "calibration.txt").touch()
    again = open_source(swiglu, recipe).with_thresholds(recipe, tmp_path, SilentProgress())
    assert again.model.spec == source.model.spec
    assert source.predictors(tmp_path, SilentProgress()) is None
    none = ExportRecipe(sparsity=0, predictor="none")
    dense = open_source(swiglu, none).with_thresholds(none, tmp_path, SilentProgress()).model.spec.thresholds
    assert dense is not None
    assert dense.layers == (0.0, 0.0)


@pytest.mark.parametrize(("density", "doubted"), [(0.1, False), (0.35, False), (0.5, True)])
def test_an_activation_that_leaves_half_of_the_neurons_firing_is_doubted(
    density: float, doubted: bool, tmp_path: Path
) -> None:
    notes: list[str] = []

    class Notes(SilentProgress):
        def note(self, text: str) -> None:
            notes.append(text)

    row = LayerRow(
        layer=0, rank=1, true_density=density, predicted_density=1, recall=1, precision=1, calibration_density=1
    )
    table = PredictorTable(
        settings=PredictorSettings(), train_tokens=1, tuning_tokens=1, layers=[row], dense=None, predicted=None
    )
    spec = open_model(tiny_opt.save_safetensors(tiny_opt.make_model(), tmp_path)).spec
    doubt_activation(spec, table, Notes())
    doubt_activation(dataclasses.replace(spec, activation="silu"), table, Notes())
    doubt_activation(spec, None, Notes())
    assert len(notes) == doubted
    assert all("config.json" in note for note in notes)
