"""Every family through the runtime, on this machine: the greedy tokens of eager PyTorch in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_families
import torch
from torch import Tensor

from flashneuron.export.pipeline import export_model
from flashneuron.export.recipe import ExportRecipe
from flashneuron.package.manifest import Package
from flashneuron.profile.session import open_session
from flashneuron.profile.settings import RunSettings
from flashneuron.progress import SilentProgress

SAMPLE = Path(__file__).parents[2] / "models" / "sample"
PROMPTS = ([2, 77, 12, 140, 30, 99], [2, 201, 8], [2, *range(40, 60)])
NEW_TOKENS = 24
FP32 = ExportRecipe(dtype="fp32", attention="fp32", predictor="none", max_chunk=8)
SWIGLU = {"llama": 0.0, "llama on the gate": 0.5, "llama on the product": 0.5, "qwen2": 0.0, "qwen3": 0.6}
NAMES = [name for name in tiny_families.MAKERS if name not in SWIGLU and not name.startswith("llama")]


@torch.no_grad()
def greedy(model: Any, prompt: list[int]) -> list[int]:
    ids = list(prompt)
    for _ in range(NEW_TOKENS):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def assert_same_tokens(package: Package, model: Any) -> None:
    expected = [greedy(model, prompt) for prompt in PROMPTS]
    settings = {"kv": "fp32", "max_new_tokens": NEW_TOKENS, "ignore_eos": True}
    with open_session(package, "host", SilentProgress()) as session:
        for predictor in ("none", "oracle"):
            asked = RunSettings(predictor=predictor, **settings)
            assert [session.generate(asked, prompt).result.token_ids for prompt in PROMPTS] == expected, predictor


@pytest.mark.parametrize("name", NAMES)
def test_greedy_tokens_are_those_of_eager_pytorch(name: str, tmp_path: Path) -> None:
    model = tiny_families.make(name)
    folder = tiny_families.save(model, tmp_path / "model")
    assert_same_tokens(export_model(folder, tmp_path / "p", FP32, SilentProgress()), model)


@pytest.mark.parametrize("case", SWIGLU)
def test_with_thresholds_they_are_those_of_eager_pytorch_with_the_same(case: str, tmp_path: Path) -> None:
    name, _, on = case.partition(" on the ")
    model = tiny_families.make(name)
    folder = tiny_families.save(model, tmp_path / "model")
    (folder / "calibration.txt").write_text((SAMPLE / "calibration.txt").read_text()[:4000])
    (folder / "heldout.txt").write_text((SAMPLE / "heldout.txt").read_text()[:2000])
    recipe = FP32.model_copy(update={"sparsity": SWIGLU[case], "threshold_on": on or "gate"})
    package = export_model(folder, tmp_path / "p", recipe, SilentProgress())
    thresholds = package.manifest.model.thresholds
    assert thresholds is not None
    assert all((threshold > 0) == (SWIGLU[case] > 0) for threshold in thresholds.layers)
    for layer, threshold in zip(model.model.layers, thresholds.layers, strict=True):
        layer.mlp.forward = thresholded(layer.mlp, thresholds.on, threshold)
    assert_same_tokens(package, model)


def thresholded(mlp: Any, on: str, threshold: float) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        gate = torch.nn.functional.silu(mlp.gate_proj(x))
        product = gate * mlp.up_proj(x)
        strength = (gate if on == "gate" else product).abs()
        return mlp.down_proj(torch.where(strength > threshold, product, 0.0))  # type: ignore[no-any-return]

    return forward
