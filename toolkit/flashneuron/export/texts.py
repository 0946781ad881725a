"""Calibration text: where it comes from, and the token sequences made of it."""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from flashneuron.errors import InputError
from flashneuron.model.folder import ModelFolder

SEQUENCE_TOKENS = 256
MAX_VALIDATION_TOKENS = 40_000
MIN_TOKENS = 4 * SEQUENCE_TOKENS
_HELD_OUT_SHARE = 0.1
_SHIPPED = "default_calibration.txt.xz"

Ids = np.ndarray[Any, Any]


@dataclass(frozen=True)
class CalibrationText:
    """`validation` is never trained on: the folder's heldout.txt, else the last tenth of the text."""

    train: str
    validation: str
    source: str  # where it comes from, for people

    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.train}\0{self.validation}".encode()).hexdigest()


def read_texts(files: Sequence[Path], model_folder: Path) -> CalibrationText:
    """`files`; without any the folder's calibration.txt, else the text that comes with flashneuron (a part of the
    sample model's). Errors: InputError.
    """
    own, held_out = model_folder / "calibration.txt", model_folder / "heldout.txt"
    if files:
        text, source = "\n".join(_read(path) for path in files), ", ".join(str(path) for path in files)
    elif own.is_file():
        text, source = _read(own), str(own)
    else:
        packed = resources.files("flashneuron.export").joinpath(_SHIPPED).read_bytes()
        text, source = lzma.decompress(packed).decode(), "the text that comes with flashneuron"
    if held_out.is_file():
        return CalibrationText(text, _read(held_out), source)
    cut = text.rfind("\n", 0, round(len(text) * (1 - _HELD_OUT_SHARE))) + 1
    return CalibrationText(text[:cut], text[cut:], source)


def token_sequences(text: CalibrationText, model: ModelFolder) -> tuple[list[Ids], list[Ids]]:
    """(train, validation): int64 sequences that each begin with the prompt prefix. Error: InputError."""
    tokenizer = Tokenizer.from_str(model.tokenizer_json().decode())
    prefix = model.spec.prompt_prefix_ids
    length = min(SEQUENCE_TOKENS, model.spec.max_context)
    found = []
    for part, limit in ((text.train, None), (text.validation, MAX_VALIDATION_TOKENS)):
        ids = tokenizer.encode(part, add_special_tokens=False).ids[:limit]
        if len(ids) < MIN_TOKENS:
            what = (
                f"{text.source} gives {len(ids)} tokens to calibrate or validate with, at least {MIN_TOKENS} are needed"
            )
            raise InputError(f"{what}; give more text with --text, or --predictor none")
        step = length - len(prefix)
        starts = range(0, len(ids) - step + 1, step)  # whole sequences only
        found.append([np.array([*prefix, *ids[start : start + step]], np.int64) for start in starts])
    return found[0], found[1]


def spread(sequences: Sequence[Ids], tokens: int) -> list[Ids]:
    """Whole sequences from everywhere in the text, about `tokens` in all."""
    count = max(1, min(len(sequences), tokens // max(len(ids) for ids in sequences)))
    return [sequences[i] for i in np.linspace(0, len(sequences) - 1, count).round().astype(int)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; convert it first") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give an existing text file with --text") from None
