"""Tiny OPTs whose FFNs are low-rank, and text for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tiny_opt
import torch

from flashneuron.model.folder import ModelFolder, open_model

Ids = np.ndarray[Any, Any]


def planted_opt(folder: Path, rank: int, seed: int = 0, **changes: Any) -> ModelFolder:
    """fc1 of every layer has this rank; biases make about a third of the neurons fire."""
    model = tiny_opt.make_model(seed, **changes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model.model.decoder.layers:
            ffn, width = layer.fc1.weight.shape
            left, right = torch.randn(ffn, rank, generator=generator), torch.randn(rank, width, generator=generator)
            layer.fc1.weight.copy_(left @ right / width**0.5)
            layer.fc1.bias.fill_(-0.5)
    return open_model(tiny_opt.save_safetensors(model, folder))


def random_text(sequences: int, length: int = 40, seed: int = 0) -> list[Ids]:
    generator = np.random.default_rng(seed)
    return [np.array([2, *generator.integers(4, tiny_opt.VOCAB - 40, length - 1)]) for _ in range(sequences)]
