"""What rounding costs: the perplexity of the model as the package stores it, beside the checkpoint's in fp32."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from flashneuron.export.golden import StoredModel
from flashneuron.export.texts import Ids, spread
from flashneuron.model.capture import Capture, Parts
from flashneuron.package.atomic import atomic_write
from flashneuron.progress import Progress

TOKENS = 4096
_RECORD = "precision.json"  # in the partial package: what an interrupted export goes on with


def measure_precision(model: StoredModel, sequences: Sequence[Ids], progress: Progress) -> dict[str, Any] | None:
    """FORMAT.md, statistics.json: `precision`; None without text. All neurons are computed. Kept in the folder."""
    path = model.folder / _RECORD
    if not sequences:
        return None
    if not path.exists():
        chosen = spread(sequences, TOKENS)
        found = {
            "ffn": model.ffn_facts.dtype,
            "attention": model.attention,
            "tokens": sum(len(ids) - 1 for ids in chosen),
            "fp32": _perplexity(model, chosen, None, progress),
            "stored": _perplexity(model, chosen, model, progress),
        }
        atomic_write(path, json.dumps(found).encode())
    record: dict[str, Any] = json.loads(path.read_bytes())
    return record


def _perplexity(model: StoredModel, sequences: Sequence[Ids], parts: Parts | None, progress: Progress) -> float:
    """Teacher-forced, each sequence from its start; `parts` None: the checkpoint's."""
    title = "perplexity in fp32" if parts is None else "perplexity as stored"
    with progress.step(title, model.spec.layers + 1, "layers") as advance:
        capture = Capture(model.spec, model.weights, sequences, model.folder, parts=parts)
        for _ in capture.layers():
            advance(1)
        nll = math.fsum(capture.losses())
        advance(1)
    return math.exp(nll / sum(len(ids) - 1 for ids in sequences))
