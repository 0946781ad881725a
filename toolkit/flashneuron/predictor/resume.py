"""Which work of an interrupted training stands. Beside each `layer_LLL.pred` lies `layer_LLL.json`: the key of all that
the predictor depends on, the hash of its file, and its row of the table. `table.json` holds the finished table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

import flashneuron
from flashneuron.model.capture import TokenIds
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.package.atomic import atomic_write
from flashneuron.package.predictor_file import LowRankPredictor, write_predictor
from flashneuron.predictor.settings import LayerRow, PredictorSettings, PredictorTable

_EMBEDDING = ("embed.tokens", "embed.positions", "embed.project_in")
_ATTENTION = ("attn_norm", "attn.q", "attn.k", "attn.v", "attn.o", "attn.q_norm", "attn.k_norm")
_PARTS = (*_ATTENTION, "ffn_norm", "ffn.gate", "ffn.up", "ffn.down")


def layer_keys(
    spec: ModelSpec, weights: Weights, texts: Iterable[Sequence[TokenIds]], settings: PredictorSettings, origin: str
) -> list[str]:
    """One a layer, of everything that decides its predictor: the settings, where it comes from, the text, and all
    weights up to there.
    """
    digest = hashlib.sha256(f"{flashneuron.__version__} {spec} {settings.model_dump_json()} {origin}".encode())
    for sequences in texts:
        digest.update(f"{len(sequences)} {[len(ids) for ids in sequences]}".encode())
        for ids in sequences:
            digest.update(ids.astype("<i8").tobytes())
    _add(digest, weights, _EMBEDDING)
    keys = []
    for layer in range(spec.layers):
        _add(digest, weights, (f"layers.{layer}.{part}.{kind}" for part in _PARTS for kind in ("weight", "bias")))
        keys.append(digest.hexdigest())
    return keys


class FinishedWork:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def predictor_path(self, layer: int) -> Path:
        return self._folder / f"layer_{layer:03}.pred"

    def keep_only(self, layers: Iterable[int]) -> None:
        """Removes every file of another training: the table, and predictors of other layers."""
        kept = {f"layer_{layer:03}" for layer in layers}
        for path in [*self._folder.glob("layer_*.pred"), *self._folder.glob("layer_*.json")]:
            if path.stem not in kept:
                path.unlink()
        (self._folder / "table.json").unlink(missing_ok=True)

    def layer(self, layer: int, key: str) -> LayerRow | None:
        """The row of a predictor that was made under `key` and is still the same file."""
        record, path = self._read(f"layer_{layer:03}.json", key), self.predictor_path(layer)
        if record is None or not path.is_file() or _sha256(path) != record["sha256"]:
            return None
        return LayerRow.model_validate(record["row"])

    def keep_layer(self, key: str, predictor: LowRankPredictor, row: LayerRow, settings: PredictorSettings) -> None:
        path = self.predictor_path(row.layer)
        write_predictor(path, predictor, settings.dtype)
        record = {"key": key, "sha256": _sha256(path), "row": row.model_dump()}
        atomic_write(path.with_suffix(".json"), json.dumps(record, indent=1).encode())

    def table(self, key: str) -> PredictorTable | None:
        record = self._read("table.json", key)
        return PredictorTable.model_validate(record["table"]) if record else None

    def keep_table(self, key: str, table: PredictorTable) -> None:
        record = {"key": key, "table": table.model_dump()}
        atomic_write(self._folder / "table.json", json.dumps(record, indent=1).encode())

    def _read(self, name: str, key: str) -> dict[str, Any] | None:
        """A record made under `key`; a file that is not one counts as absent, for the work can be done again."""
        try:
            record = json.loads((self._folder / name).read_bytes())
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and record.get("key") == key else None


def _add(digest: hashlib._Hash, weights: Weights, names: Iterable[str]) -> None:
    for name in names:
        if name in weights:
            digest.update(name.encode())
            digest.update(weights[name].detach().contiguous().view(torch.uint8).numpy().data)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
