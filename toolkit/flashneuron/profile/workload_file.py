"""Workload files: several prompts with lengths of their own, as TOML or JSON.

prompt_tokens = 128          # of every prompt that says nothing else
max_new_tokens = 256

[[prompts]]
text = "In the beginning"

[[prompts]]
file = "essay.txt"           # beside the workload file; its first tokens
prompt_tokens = 512

[[prompts]]                  # neither: the text that comes with flashneuron
name = "short"
max_new_tokens = 32
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flashneuron.errors import InputError
from flashneuron.profile.workload import Prompt, default_text, read_text

_PromptTokens = Annotated[int, Field(ge=1)] | None
_NewTokens = Annotated[int, Field(ge=2)] | None  # the first comes from the prefill: one decodes nothing


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    text: Annotated[str, Field(min_length=1)] | None = None
    file: Annotated[str, Field(min_length=1)] | None = None
    prompt_tokens: _PromptTokens = None
    max_new_tokens: _NewTokens = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    prompt_tokens: _PromptTokens = None
    max_new_tokens: _NewTokens = None
    prompts: Annotated[list[_Entry], Field(min_length=1)]


def read_workload(path: Path) -> list[Prompt]:
    """Its prompts, in their order. Raises InputError of one line that names the file and its first defect."""
    found = _parse(path)
    prompts = [_prompt(path, number, entry, found) for number, entry in enumerate(found.prompts, 1)]
    for number, prompt in enumerate(prompts):
        if prompt.source in {earlier.source for earlier in prompts[:number]}:
            raise InputError(f"{prompt.source} is there twice; give each prompt a name of its own")
    return prompts


def _parse(path: Path) -> _File:
    text = read_text(path)
    try:
        data: Any = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
        raise InputError(f"{path} is not {kind}: {' '.join(str(error).split())}") from None
    try:
        return _File.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part + 1 if isinstance(part, int) else part) for part in first["loc"]) or "the whole"
        raise InputError(f"{path}: {where}: {first['msg']}; an example is in flashneuron profile --help") from None


def _prompt(path: Path, number: int, entry: _Entry, found: _File) -> Prompt:
    if entry.text is not None and entry.file is not None:
        raise InputError(f"{path}: prompts.{number}: give text or file, not both")
    name = entry.name or (Path(entry.file).name if entry.file else f"prompt {number}")
    if not name.isprintable():
        raise InputError(f"{path}: prompts.{number}.name: expected a name that can be printed")
    text = entry.text or (read_text(path.parent / entry.file) if entry.file else default_text())
    return Prompt(
        source=f"{path.stem}: {name}",
        text=text,
        whole=entry.text is not None,
        prompt_tokens=entry.prompt_tokens or found.prompt_tokens,
        max_new_tokens=entry.max_new_tokens or found.max_new_tokens,
    )
