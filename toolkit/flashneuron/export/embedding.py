"""embedding.bin: token rows as layer 0 takes them, then position rows (FORMAT.md, "Weight files")."""

from __future__ import annotations

from pathlib import Path

import torch

from flashneuron.export.rounding import rounded
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.package.atomic import atomic_path
from flashneuron.package.layout import FloatDType, element_bytes
from flashneuron.package.schema import EmbeddingFacts
from flashneuron.progress import Progress

EMBEDDING = "embedding.bin"
_ROWS = 4096  # converted at a time


def write_embedding(
    spec: ModelSpec, weights: Weights, folder: Path, dtype: FloatDType, progress: Progress
) -> EmbeddingFacts:
    facts = EmbeddingFacts(file=EMBEDDING, dtype=dtype, position_rows=spec.position_rows)
    if (folder / EMBEDDING).exists():
        return facts
    size = (spec.vocab_size + spec.position_rows) * spec.hidden_size * element_bytes(dtype)
    project = weights["embed.project_in"].float().T if "embed.project_in" in weights else None
    with (
        progress.step("embedding", size, "B") as advance,
        atomic_path(folder / EMBEDDING) as path,
        path.open("wb") as file,
    ):
        for name in ("embed.tokens", "embed.positions"):
            if name == "embed.positions" and not spec.position_rows:
                continue
            table, matrix = weights[name], project if name == "embed.tokens" else None
            for first in range(0, len(table), _ROWS):
                rows: torch.Tensor = table[first : first + _ROWS]
                rows = rows if matrix is None else rows.float() @ matrix
                advance(file.write(rounded(rows, dtype, name).data))
    return facts
