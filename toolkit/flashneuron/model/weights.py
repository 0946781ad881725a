"""Reading checkpoints tensor by tensor: .safetensors or PyTorch .bin, one file or many.

Every read opens its file, copies one tensor and closes the file again, so that nothing but that tensor stays in memory,
not even as mapped pages.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from flashneuron.errors import ModelError

_FLOATS = {torch.float32, torch.float16, torch.bfloat16}


@dataclass(frozen=True)
class Checkpoint:
    """Which file holds which tensor, and its shape."""

    files: Mapping[str, Path]
    shapes: Mapping[str, tuple[int, ...]]

    def read(self, name: str) -> torch.Tensor:
        """A copy of one tensor in its stored dtype. Errors: ModelError naming the tensor."""
        path = self.files[name]
        tensor = _read_safetensor(path, name) if path.suffix == ".safetensors" else _open_bin(path)[name].clone()
        if tensor.dtype not in _FLOATS:
            raise ModelError(f"{path}: {name} is {tensor.dtype}; only float32, float16 and bfloat16 are supported")
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{path}: {name} holds NaN or infinite values; the checkpoint is damaged")
        return tensor


def open_checkpoint(folder: Path) -> Checkpoint:
    """Errors: ModelError for no weights, a missing shard, or a file that cannot be read."""
    files: dict[str, Path] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        found = _safetensor_shapes(path) if path.suffix == ".safetensors" else _bin_shapes(path)
        files |= dict.fromkeys(found, path)
        shapes |= found
    return Checkpoint(files, shapes)


def weight_files(folder: Path) -> list[Path]:
    """Safetensors before .bin; an index file says which shards there must be."""
    for stem, suffix in (("model", ".safetensors"), ("pytorch_model", ".bin")):
        index = folder / f"{stem}{suffix}.index.json"
        if (single := folder / f"{stem}{suffix}").is_file():
            return [single]
        if index.is_file():
            return _indexed(index)
        if found := sorted(folder.glob(f"*{suffix}" if suffix == ".safetensors" else f"{stem}*{suffix}")):
            return found
    raise ModelError(f"{folder} has no weights: expected .safetensors or pytorch_model*.bin files")


@dataclass(frozen=True)
class TensorSource:
    """Where a canonical tensor comes from: its stored name and shape, and what is done with it after reading."""

    name: str
    shape: tuple[int, ...]
    convert: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor


class MappedWeights:
    """spec.Weights over a checkpoint. Every source is known to be there with its shape."""

    def __init__(self, checkpoint: Checkpoint, sources: Mapping[str, TensorSource]) -> None:
        for source in sources.values():
            if source.name not in checkpoint.files:
                raise ModelError(f"the weights lack {source.name}, which config.json implies; the folder is incomplete")
            if (shape := checkpoint.shapes[source.name]) != source.shape:
                what = f"{source.name} has shape {list(shape)}, config.json implies {list(source.shape)}"
                raise ModelError(f"{checkpoint.files[source.name]}: {what}")
        self._checkpoint, self._sources = checkpoint, sources

    def __contains__(self, name: str) -> bool:
        return name in self._sources

    def __getitem__(self, name: str) -> torch.Tensor:
        source = self._sources[name]
        return source.convert(self._checkpoint.read(source.name))


def _indexed(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ModelError(f"{index} is not an index of weights; fetch the model folder again") from None
    for name in names:
        if Path(name).name != name or not (index.parent / name).is_file():
            raise ModelError(f"{index.parent / name} is missing, {index.name} names it; fetch the model folder again")
    return [index.parent / name for name in names]


def _safetensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is truncated or damaged ({_line(error)}); fetch it again") from None


def _read_safetensor(path: Path, name: str) -> torch.Tensor:
    with safe_open(path, framework="pt") as file:
        tensor: torch.Tensor = file.get_tensor(name).clone()
        return tensor


def _bin_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in _open_bin(path).items()}


def _open_bin(path: Path) -> dict[str, torch.Tensor]:
    """Tensors mapped from the file; pages are read when touched, and let go with the dictionary."""
    try:
        content: Any = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        hint = "truncated, of PyTorch's format before 1.6, or more than plain tensors"
        raise ModelError(f"{path} cannot be read: {hint} ({_line(error)})") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} does not hold named tensors")
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, torch.Tensor)}


def _line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:160]
