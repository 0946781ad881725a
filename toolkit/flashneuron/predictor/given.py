"""Predictors that were made elsewhere, as LowRank: read one layer at a time, checked before any work.

- **PowerInfer's files** (arXiv 2312.12456): a folder of `model_LAYER.pt`: fc1.weight [rank, d], fc2.weight [F, rank].
- **In the checkpoint**, as TurboSparse (arXiv 2406.05955) has them: the same two matrices among the model's weights.
  Both: a ReLU between, no biases, active where the logit is over 0; input is the stream before the FFN's norm.
- **Ours**: a folder that `flashneuron train-predictor` filled.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flashneuron.errors import InputError, PackageError
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.package.layout import PredictorDType, PredictorInput
from flashneuron.package.predictor_file import MAX_RANK, read_predictor
from flashneuron.predictor.lowrank import LowRank
from flashneuron.predictor.train import trained_input

_NAMES = ("fc1.weight", "fc2.weight")
# What torch.load raises for files that it cannot read as plain tensors.
_UNREADABLE: tuple[type[Exception], ...] = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    pickle.PickleError,
)

_Read = Callable[[ModelSpec, Path, int], LowRank]


@dataclass(frozen=True)
class GivenPredictors:
    """One for each layer of a model. `read` may be asked for a layer again; error: InputError."""

    origin: str  # for people
    input: PredictorInput
    layers: int
    read: Callable[[int], LowRank]

    @cached_property
    def fingerprint(self) -> str:
        """Of all that they hold. Reads every layer, and so finds what is wrong with any."""
        digest = hashlib.sha256(f"{self.origin} {self.input}".encode())
        for layer in range(self.layers):
            predictor = self.read(layer)
            for tensor in (predictor.a, predictor.b, predictor.bias):
                digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()

    def check_range(self, dtype: PredictorDType) -> None:
        """Error: InputError if files of `dtype` cannot hold them."""
        largest = torch.finfo(torch.float16).max
        for layer in range(self.layers) if dtype == "fp16" else ():
            predictor = self.read(layer)
            if max(float(predictor.a.abs().max()), float(predictor.b.abs().max())) > largest:
                what = f"the predictor of layer {layer} from {self.origin} has values over {largest:.0f}"
                raise InputError(f"{what}, more than fp16 holds; choose --dtype bf16, fp32 or int8")


def carried_predictors(spec: ModelSpec, weights: Weights) -> GivenPredictors | None:
    """Those that the checkpoint has; None: it has none."""
    if "layers.0.predictor.fc1.weight" not in weights:
        return None

    def read(layer: int) -> LowRank:
        tensors = [weights[f"layers.{layer}.predictor.{name}"] for name in _NAMES]
        return _two_matrices(spec, tensors, f"layer {layer} of the checkpoint")

    return GivenPredictors("the checkpoint", stream_before_norm(spec), spec.layers, read)


def predictors_in(folder: Path, spec: ModelSpec) -> GivenPredictors:
    """PowerInfer's or ours. Error: InputError for a folder that has neither of every layer."""
    kinds: tuple[tuple[str, str, _Read, PredictorInput], ...] = (
        ("model_*.pt", "model_{}.pt", _read_powerinfer, stream_before_norm(spec)),
        ("layer_*.pred", "layer_{:03}.pred", _read_ours, trained_input(spec)),
    )
    for pattern, name, read, given_input in kinds:
        if not any(folder.glob(pattern)):
            continue
        paths = [folder / name.format(layer) for layer in range(spec.layers)]
        for path in paths:
            if not path.is_file():
                raise InputError(f"{path} is missing: {folder} must have a predictor for each of {spec.layers} layers")
        if (folder / name.format(spec.layers)).exists():
            raise InputError(f"{folder} has predictors of more than the model's {spec.layers} layers: another model's")
        return GivenPredictors(str(folder), given_input, spec.layers, _reader(spec, paths, read))
    what = "neither model_0.pt (PowerInfer) nor layer_000.pred (flashneuron train-predictor)"
    raise InputError(f"{folder} has no predictors: {what} is there")


def stream_before_norm(spec: ModelSpec) -> PredictorInput:
    """What others' predictors take, who speak of the stream before the FFN's norm. Where attention and FFN stand side
    by side that is what the layer begins with.
    """
    return "layer_input" if spec.parallel else "residual"


def _reader(spec: ModelSpec, paths: list[Path], read: _Read) -> Callable[[int], LowRank]:
    return lambda layer: read(spec, paths[layer], layer)


def _read_powerinfer(spec: ModelSpec, path: Path, layer: int) -> LowRank:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        line = (str(error) or type(error).__name__).split("\n", 1)[0][:160]
        raise InputError(f"{path} cannot be read as tensors of PyTorch: damaged, or more than that ({line})") from None
    if not isinstance(content, dict) or set(content) != set(_NAMES):
        found = ", ".join(sorted(map(str, content))[:6]) if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{path} must hold just {' and '.join(_NAMES)}; it holds {found or 'nothing'}")
    return _two_matrices(spec, [content[name] for name in _NAMES], str(path))


def _read_ours(spec: ModelSpec, path: Path, layer: int) -> LowRank:
    try:
        stored = read_predictor(path)
    except PackageError as error:
        raise InputError(str(error)) from None
    if stored.layer != layer:
        raise InputError(f"{path} is of layer {stored.layer}; files were renamed")
    predictor = LowRank.from_file(stored)
    _check_shapes(spec, predictor.a, predictor.b, str(path))
    return predictor


def _two_matrices(spec: ModelSpec, tensors: list[Any], where: str) -> LowRank:
    for name, tensor in zip(_NAMES, tensors, strict=True):
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or not tensor.is_floating_point():
            what = f"{tensor.dtype}, {tensor.layout}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise InputError(f"{where}: {name} is no dense tensor of floats ({what})")
    a, b = (tensor.detach().float() for tensor in tensors)
    _check_shapes(spec, a, b, where)
    for name, tensor in zip(_NAMES, (a, b), strict=True):
        if not torch.isfinite(tensor).all():
            raise InputError(f"{where}: {name} holds NaN or infinite values")
    return LowRank(a, b, torch.zeros(spec.ffn_size), relu=True)


def _check_shapes(spec: ModelSpec, a: Tensor, b: Tensor, where: str) -> None:
    rank = a.shape[0] if a.dim() == 2 else 0
    if (a.shape, b.shape) != ((rank, spec.hidden_size), (spec.ffn_size, rank)) or not 1 <= rank <= MAX_RANK:
        wanted = f"[r, {spec.hidden_size}] and [{spec.ffn_size}, r]"
        raise InputError(f"{where}: shapes {list(a.shape)} and {list(b.shape)} are another model's, expected {wanted}")
