"""Predictors as others ship them, of random numbers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from flashneuron.model.spec import ModelSpec

RANK = 6


def two_matrices(spec: ModelSpec, layer: int, rank: int = RANK) -> dict[str, Tensor]:
    """fc1 and fc2 of PowerInfer's layout; about half of the neurons are predicted."""
    generator = torch.Generator().manual_seed(layer)
    return {
        "fc1.weight": torch.randn(rank, spec.hidden_size, generator=generator),
        "fc2.weight": torch.randn(spec.ffn_size, rank, generator=generator),
    }


def powerinfer_files(folder: Path, spec: ModelSpec) -> Path:
    folder.mkdir()
    for layer in range(spec.layers):
        torch.save(two_matrices(spec, layer), folder / f"model_{layer}.pt")
    return folder
