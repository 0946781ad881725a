"""Predictors made elsewhere: read as they are meant, measured as they decide, refused in one line where damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_opt import planted_opt, random_text
from safetensors.torch import load_file, save_file
from tiny_opt import copy
from tiny_predictors import RANK, powerinfer_files, two_matrices
from torch import Tensor

from flashneuron.errors import InputError, ModelError
from flashneuron.model.capture import Capture
from flashneuron.model.folder import ModelFolder, open_model
from flashneuron.package.layout import PredictorInput
from flashneuron.package.predictor_file import read_predictor
from flashneuron.predictor.adopt import Adoption
from flashneuron.predictor.given import GivenPredictors, carried_predictors, predictors_in
from flashneuron.predictor.lowrank import LowRank
from flashneuron.predictor.settings import PredictorSettings, PredictorTable
from flashneuron.predictor.train import train_predictors
from flashneuron.progress import SilentProgress

TRAIN, VALIDATION = random_text(32), random_text(8, seed=1)
SETTINGS = PredictorSettings(steps=5, batch_tokens=256)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return planted_opt(tmp_path_factory.mktemp("planted") / "model", 4)


@pytest.fixture(scope="module")
def files(model: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return powerinfer_files(tmp_path_factory.mktemp("given") / "files", model.spec)


def adopt(model: ModelFolder, taken: GivenPredictors, out: Path, fit: bool = False, **changes: Any) -> PredictorTable:
    adoption = Adoption(taken, SETTINGS.model_copy(update=changes), fit)
    return adoption.run(model.spec, model.weights, TRAIN, VALIDATION, out, SilentProgress())


def logits(layer: int, model: ModelFolder, x: Tensor) -> Tensor:
    parts = two_matrices(model.spec, layer)
    return torch.relu(x @ parts["fc1.weight"].T) @ parts["fc2.weight"].T


@pytest.mark.parametrize("taken", ["residual", "layer_input"])
def test_what_others_ship_decides_by_the_stream_before_the_norm(
    model: ModelFolder, files: Path, tmp_path: Path, taken: PredictorInput
) -> None:
    found = predictors_in(files, model.spec)
    assert found.input == "residual"
    found = GivenPredictors(found.origin, taken, found.layers, found.read)
    table = adopt(model, found, tmp_path, dtype="fp32")
    assert (table.input, table.given, table.thresholds_fitted) == (taken, str(files), False)
    capture = Capture(model.spec, model.weights, VALIDATION, predictor_input=taken)
    for layer, row in zip(capture.layers(), table.layers, strict=True):
        stored = read_predictor(tmp_path / f"layer_{layer.index:03}.pred")
        assert stored.relu
        assert (row.rank, stored.bias.any()) == (RANK, False)
        selected = logits(layer.index, model, layer.predictor_input[:]) > 0
        fires = layer.ffn.active(layer.ffn_input[:])
        pair = 1.5 / selected.numel()
        assert row.predicted_density == pytest.approx(float(selected.float().mean()), abs=pair)
        assert row.recall == pytest.approx(int((fires & selected).sum()) / int(fires.sum()), abs=2 / int(fires.sum()))
    assert table.dense is not None
    assert table.predicted is not None
    assert table.predicted.perplexity > table.dense.perplexity  # of random predictors


def test_each_input_is_what_the_attention_block_has(model: ModelFolder) -> None:
    """Its own norm of the residual is the FFN's input; the layer's input is the stream after the layer before."""
    spec, weights = model.spec, model.weights
    passes = [Capture(spec, weights, VALIDATION, None, taken).layers() for taken in ("residual", "layer_input")]  # type: ignore[arg-type]
    after: Tensor | None = None
    for index, (residual, entered) in enumerate(zip(*passes, strict=True)):
        norm = [weights[f"layers.{index}.ffn_norm.{part}"].float() for part in ("weight", "bias")]
        normed = torch.nn.functional.layer_norm(residual.predictor_input[:], norm[0].shape, *norm)
        assert torch.allclose(normed, residual.ffn_input[:], atol=1e-5)
        assert after is None or torch.allclose(entered.predictor_input[:], after, atol=1e-5)
        after = residual.predictor_input[:] + residual.ffn(residual.ffn_input[:])


def test_thresholds_are_fitted_to_the_recall(model: ModelFolder, files: Path, tmp_path: Path) -> None:
    found = predictors_in(files, model.spec)
    given, fitted = (adopt(model, found, tmp_path / str(fit), fit, recall=0.9) for fit in (False, True))
    assert all(row.recall < 0.8 for row in given.layers)
    assert all(row.recall == pytest.approx(0.91, abs=0.04) for row in fitted.layers)
    biases = [read_predictor(tmp_path / "True" / f"layer_{layer:03}.pred").bias for layer in range(2)]
    assert all((bias == bias[0]).all() and bias[0] != 0 for bias in biases)


def test_int8_files_decide_as_measured(model: ModelFolder, files: Path, tmp_path: Path) -> None:
    table = adopt(model, predictors_in(files, model.spec), tmp_path, dtype="int8")
    capture = Capture(model.spec, model.weights, VALIDATION, predictor_input="residual")
    for layer, row in zip(capture.layers(), table.layers, strict=True):
        stored = LowRank.from_file(read_predictor(tmp_path / f"layer_{layer.index:03}.pred"))
        selected = stored.selects(layer.predictor_input[:])
        assert row.predicted_density == pytest.approx(float(selected.float().mean()), abs=2 / selected.numel())


def test_an_adoption_is_done_once_and_again_for_other_predictors(
    model: ModelFolder, files: Path, tmp_path: Path
) -> None:
    adopt(model, predictors_in(files, model.spec), tmp_path / "out")
    written = (tmp_path / "out" / "layer_000.pred").stat().st_mtime_ns
    adopt(model, predictors_in(files, model.spec), tmp_path / "out")
    assert (tmp_path / "out" / "layer_000.pred").stat().st_mtime_ns == written
    other = Path(copy(files, tmp_path / "other"))
    torch.save(two_matrices(model.spec, 7), other / "model_1.pt")
    adopt(model, predictors_in(other, model.spec), tmp_path / "out")
    kept = read_predictor(tmp_path / "out" / "layer_001.pred").a
    assert torch.equal(torch.tensor(kept), two_matrices(model.spec, 7)["fc1.weight"].half().float())


def test_our_own_trained_ones_are_taken_as_they_are(model: ModelFolder, tmp_path: Path) -> None:
    trained = train_predictors(model.spec, model.weights, TRAIN, VALIDATION, SETTINGS, tmp_path / "a", SilentProgress())
    found = predictors_in(tmp_path / "a", model.spec)
    assert found.input == "ffn_input"
    adopted = adopt(model, found, tmp_path / "b")
    assert [row.model_dump(exclude={"calibration_density"}) for row in adopted.layers] == [
        row.model_dump(exclude={"calibration_density"}) for row in trained.layers
    ]
    assert (tmp_path / "a" / "layer_001.pred").read_bytes() == (tmp_path / "b" / "layer_001.pred").read_bytes()


def carrying(model: ModelFolder, folder: Path, change: Callable[[dict[str, Tensor]], None] = lambda _: None) -> Path:
    """The model's folder with predictors among its weights."""
    copy(model.path, folder)
    tensors = load_file(folder / "model.safetensors")
    for layer in range(model.spec.layers):
        for name, tensor in two_matrices(model.spec, layer).items():
            tensors[f"model.layers.{layer}.mlp.predictor.{name}"] = tensor.half()
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_predictors_in_the_checkpoint_are_found(model: ModelFolder, tmp_path: Path) -> None:
    assert carried_predictors(model.spec, model.weights) is None
    opened = open_model(carrying(model, tmp_path / "model"))
    found = carried_predictors(opened.spec, opened.weights)
    assert found is not None
    assert (found.input, found.origin) == ("residual", "the checkpoint")
    predictor = found.read(1)
    assert predictor.relu
    assert torch.equal(predictor.b, two_matrices(model.spec, 1)["fc2.weight"].half().float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("model.layers.1.mlp.predictor.fc2.weight"), "lack model.layers.1.mlp.predictor.fc2.weight"),
        (
            lambda t: t.update({"model.layers.0.mlp.predictor.fc1.bias": torch.zeros(RANK)}),
            "unknown kind: model.layers.0.mlp.predictor.fc1.bias",
        ),
        (lambda t: t.update({"model.layers.0.mlp.predictor.fc1.weight": torch.zeros(RANK, 3)}), r"shape \[6, 3\]"),
    ],
)
def test_predictors_in_the_checkpoint_are_whole(
    model: ModelFolder, tmp_path: Path, change: Callable[[dict[str, Tensor]], None], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        open_model(carrying(model, tmp_path / "model", change))


Tensors = dict[str, Any]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda t: [1, 2], "must hold just fc1.weight and fc2.weight; it holds list"),
        (lambda t: {}, "it holds nothing"),
        (lambda t: {**t, "fc1.bias": torch.zeros(RANK)}, "it holds fc1.bias, fc1.weight, fc2.weight"),
        (lambda t: {**t, "fc1.weight": 3}, "fc1.weight is no dense tensor of floats"),
        (lambda t: {**t, "fc1.weight": t["fc1.weight"].long()}, "no dense tensor of floats"),
        (lambda t: {**t, "fc1.weight": t["fc1.weight"].to_sparse()}, "no dense tensor of floats"),
        (lambda t: {**t, "fc1.weight": t["fc1.weight"][0]}, r"shapes \[32\] and \[48, 6\] are another model's"),
        (lambda t: {**t, "fc1.weight": t["fc1.weight"][:5]}, r"shapes \[5, 32\] and \[48, 6\]"),
        (lambda t: {**t, "fc2.weight": t["fc2.weight"].T}, r"shapes \[6, 32\] and \[6, 48\]"),
        (lambda t: {**t, "fc2.weight": t["fc2.weight"] * float("nan")}, "holds NaN or infinite"),
    ],
)
def test_a_file_that_is_something_else_is_refused(
    model: ModelFolder, files: Path, tmp_path: Path, content: Callable[[Tensors], Any], message: str
) -> None:
    folder = copy(files, tmp_path / "files")
    torch.save(content(two_matrices(model.spec, 1)), folder / "model_1.pt")
    found = predictors_in(folder, model.spec)
    with pytest.raises(InputError, match=message) as caught:
        _ = found.fingerprint
    assert "\n" not in str(caught.value)
    assert "model_1.pt" in str(caught.value)


@pytest.fixture(scope="module")
def damaged(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(copy(files, tmp_path_factory.mktemp("damaged") / "files"))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_one_line(model: ModelFolder, files: Path, damaged: Path, data: st.DataObject) -> None:
    whole = (files / "model_0.pt").read_bytes()
    kind = data.draw(st.sampled_from(["cut", "noise", "changed"]))
    if kind == "cut":
        content = whole[: data.draw(st.integers(0, len(whole) - 1))]
    elif kind == "noise":
        content = data.draw(st.binary(max_size=200))
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        content = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    (damaged / "model_0.pt").write_bytes(content)
    line = ""
    try:
        predictors_in(damaged, model.spec).read(0)
    except InputError as error:
        line = str(error)
    assert "\n" not in line


def test_a_program_in_a_file_is_not_run(model: ModelFolder, files: Path, tmp_path: Path) -> None:
    folder = copy(files, tmp_path / "files")
    torch.save({"fc1.weight": _Touches(tmp_path / "touched"), "fc2.weight": 0}, folder / "model_0.pt")
    with pytest.raises(InputError, match="or more than that"):
        predictors_in(folder, model.spec).read(0)
    assert not (tmp_path / "touched").exists()


class _Touches:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_folders_of_another_model_are_refused(model: ModelFolder, files: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no predictors: neither model_0.pt"):
        predictors_in(tmp_path, model.spec)
    folder = copy(files, tmp_path / "files")
    torch.save({}, folder / "model_2.pt")
    with pytest.raises(InputError, match="more than the model's 2 layers"):
        predictors_in(folder, model.spec)
    for name in ("model_1.pt", "model_2.pt"):
        (folder / name).unlink()
    with pytest.raises(InputError, match=r"model_1.pt is missing: .* each of 2 layers"):
        predictors_in(folder, model.spec)


def test_values_that_fp16_cannot_hold_are_refused_before_any_work(
    model: ModelFolder, files: Path, tmp_path: Path
) -> None:
    folder = copy(files, tmp_path / "files")
    torch.save({name: t * 1e6 for name, t in two_matrices(model.spec, 1).items()}, folder / "model_1.pt")
    found = predictors_in(folder, model.spec)
    found.check_range("bf16")
    with pytest.raises(InputError, match=r"layer 1 .* more than fp16 holds; choose --dtype bf16"):
        found.check_range("fp16")
