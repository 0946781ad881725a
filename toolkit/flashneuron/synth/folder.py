"""A synthetic model as a Hugging Face folder: config, tokenizer, a calibration text, fp16 safetensors of a layer each.

What an interrupted run finished is kept in `<output>.partial`, and the last step renames it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from flashneuron.errors import InputError
from flashneuron.package.atomic import atomic_path, atomic_write
from flashneuron.progress import Progress
from flashneuron.synth import draws
from flashneuron.synth.shapes import Shape
from flashneuron.synth.tokenizer import FIRST_WORD, make_tokenizer, word_of
from flashneuron.units import format_bytes

CALIBRATION_WORDS = 120_000  # as many as predictors are trained on at most
INDEX = "model.safetensors.index.json"
_LINE_WORDS = 64
_OTHER_BYTES = 16 << 20  # tokenizer, calibration text, file system

Tensors = Callable[[], dict[str, Tensor]]  # stored name → fp16 tensor


def write_small_files(folder: Path, shape: Shape, seed: int) -> None:
    bos = int(shape.config["bos_token_id"])
    atomic_write(folder / "config.json", json.dumps(shape.config, indent=1).encode())
    atomic_write(folder / "tokenizer.json", make_tokenizer(shape.vocab_size, bos).to_str().encode())
    atomic_write(folder / "calibration.txt", calibration_text(shape.vocab_size, seed).encode())


def calibration_text(vocab_size: int, seed: int) -> str:
    """Words of random ids, so that a token says nothing of the next."""
    drawn = draws.integers(seed, "calibration text", CALIBRATION_WORDS) % (vocab_size - FIRST_WORD)
    words = [word_of(FIRST_WORD + int(place)) for place in drawn]
    return "".join("".join(words[at : at + _LINE_WORDS]) + "\n" for at in range(0, len(words), _LINE_WORDS))


def write_shards(folder: Path, shards: list[Tensors], progress: Progress) -> set[str]:
    """One file each, and their index; files that are there are kept. Returns the names of all."""
    weight_map: dict[str, str] = {}
    with progress.step("weights", len(shards), "shards") as advance:
        for number, tensors in enumerate(shards, 1):
            name = f"model-{number:05}-of-{len(shards):05}.safetensors"
            if not (folder / name).exists():
                with atomic_path(folder / name) as path:
                    save_file({key: value.contiguous() for key, value in tensors().items()}, path, {"format": "pt"})
            with safe_open(folder / name, framework="pt") as file:
                weight_map |= dict.fromkeys(file.keys(), name)
            advance(1)
    content = {"metadata": {"total_size": sum((folder / name).stat().st_size for name in set(weight_map.values()))}}
    atomic_write(folder / INDEX, json.dumps(content | {"weight_map": weight_map}, indent=1).encode())
    return {INDEX, *weight_map.values()}


def estimate_bytes(shape: Shape) -> int:
    """Size of the folder; norms and biases are in the allowance."""
    config, d = shape.config, shape.hidden_size
    tables = 1 if config["tie_word_embeddings"] else 2
    rows = tables * shape.vocab_size + (int(config["max_position_embeddings"]) if shape.family == "opt" else 0)
    attention = 2 * d * d + 2 * d * (d // shape.heads if config.get("multi_query") else d)
    ffn = (3 if shape.family == "llama" else 2) * d * shape.ffn_size
    return 2 * (rows * d + shape.layers * (attention + ffn + shape.ffn_size + 16 * d)) + _OTHER_BYTES


def check_free_disk(shape: Shape, partial: Path) -> None:
    """What interrupted work left counts as room. Error: InputError with needed and free bytes."""
    folder = partial.absolute().parent
    while not folder.exists():
        folder = folder.parent
    there = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file()) if partial.is_dir() else 0
    needed, free = estimate_bytes(shape), shutil.disk_usage(folder).free + there
    if needed > free:
        what = f"the folder needs about {format_bytes(needed)}, {folder} has {format_bytes(free)} free"
        raise InputError(f"{what}; free some or choose another output folder")
