"""A Hugging Face model folder, opened."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flashneuron.errors import ModelError
from flashneuron.model.carried_predictors import predictor_sources
from flashneuron.model.families import family_of
from flashneuron.model.gguf import folder_of_gguf, is_gguf
from flashneuron.model.spec import ModelSpec
from flashneuron.model.tokenizer import parse_tokenizer, prompt_prefix_ids, read_chat, read_json, read_tokenizer_json
from flashneuron.model.weights import MappedWeights, open_checkpoint, weight_files
from flashneuron.package.schema import ChatFacts

_FINGERPRINT_BYTES = 1 << 20


@dataclass(frozen=True)
class ModelFolder:
    path: Path
    spec: ModelSpec
    weights: MappedWeights
    synthetic: bool  # true architecture, random weights (config.json: flashneuron_synthetic)

    @property
    def name(self) -> str:
        return self.path.resolve().name

    def tokenizer_json(self) -> bytes:
        return read_tokenizer_json(self.path)

    def chat(self) -> ChatFacts | None:
        return read_chat(self.path)

    def fingerprint(self) -> str:
        """Changes when a file of the model does: names, sizes, times, and the first MiB of each file."""
        digest = hashlib.sha256()
        small = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json", "vocab.json")
        paths = [self.path / name for name in (*small, "merges.txt", "chat_template.jinja")] + weight_files(self.path)
        for path in paths:
            if path.is_file():
                facts = path.stat()
                digest.update(f"{path.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
                with path.open("rb") as file:
                    digest.update(file.read(_FINGERPRINT_BYTES))
        return digest.hexdigest()


def open_model(path: Path | str) -> ModelFolder:
    """Reads facts and checks that every tensor is there with its shape; weights are read when asked for. A GGUF file
    becomes a folder first.

    Errors: ModelError, one line.
    """
    path = Path(path)
    if is_gguf(path):
        path = folder_of_gguf(path)
    if not path.is_dir():
        raise ModelError(
            f"{path} is not a folder; give a Hugging Face model folder (config.json, weights, tokenizer) or .gguf"
        )
    if not (path / "config.json").is_file():
        raise ModelError(f"{path} has no config.json, so it is not a Hugging Face model folder")
    config = read_json(path / "config.json")
    family = family_of(config)
    spec = family.read_spec(config)
    tokenizer = parse_tokenizer(read_tokenizer_json(path), str(path / "tokenizer.json"))
    tokenizer_config = {"add_bos_token": family.adds_bos} | read_json(path / "tokenizer_config.json", optional=True)
    prefix = prompt_prefix_ids(tokenizer, tokenizer_config, config.get("bos_token_id", family.bos_id))
    spec = dataclasses.replace(spec, prompt_prefix_ids=prefix, eos_token_ids=_eos_ids(path, config, family.eos_id))
    for token in (*spec.prompt_prefix_ids, *spec.eos_token_ids, tokenizer.get_vocab_size() - 1):
        if not 0 <= token < spec.vocab_size:
            raise ModelError(f"{path}: the tokenizer has id {token}, config.json a vocabulary of {spec.vocab_size}")
    checkpoint = open_checkpoint(path)
    sources = {**family.tensor_sources(spec, config, checkpoint), **predictor_sources(spec, checkpoint)}
    weights = MappedWeights(checkpoint, sources)
    return ModelFolder(path, spec, weights, bool(config.get("flashneuron_synthetic", False)))


def _eos_ids(path: Path, config: dict[str, Any], default: int | None) -> tuple[int, ...]:
    """generation_config.json decides over config.json, as in transformers."""
    generation = read_json(path / "generation_config.json", optional=True)
    ids = generation.get("eos_token_id", config.get("eos_token_id", default))
    return tuple(ids) if isinstance(ids, list) else () if ids is None else (ids,)
