"""GGUF files as Hugging Face folders, by transformers' own reader. The folder is made once, in the user's cache."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from flashneuron.errors import ModelError


def is_gguf(path: Path) -> bool:
    return path.is_file() and path.suffix == ".gguf"


def folder_of_gguf(path: Path) -> Path:
    """The folder, in fp16 whatever the file's quantisation. Errors: ModelError."""
    facts = path.stat()
    key = hashlib.sha256(f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}".encode()).hexdigest()[:16]
    folder = _cache() / key / path.stem
    if not folder.is_dir():
        for package in ("transformers", "gguf", "accelerate"):
            if importlib.util.find_spec(package) is None:
                raise ModelError(f"GGUF files need {package}; install the extra: pip install 'flashneuron[gguf]'")
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
        try:
            _convert(path, made)
            made.rename(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder


def _convert(path: Path, folder: Path) -> None:
    """Errors: ModelError."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float16, quantization_config=GgufConfig(dequantize=True)
        )
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(folder)
    except Exception as error:  # of three libraries
        raise ModelError(f"{path} cannot be read as GGUF: {str(error).splitlines()[0][:200]}") from None


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flashneuron" / "gguf"
