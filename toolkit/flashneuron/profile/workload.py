"""What a run computes: the prompt and how many tokens follow, checked against the model before anything is pushed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from flashneuron.errors import InputError, PackageError
from flashneuron.package.manifest import Package
from flashneuron.profile.run_file import Workload
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.text import TextCodec

NEW_TOKENS = 128  # of `run`, where nothing is said


def fit(settings: RunSettings, prompt: int, max_context: int) -> RunSettings:
    """Settings with max_new_tokens that fit after `prompt` tokens. Raises InputError in one line where none do."""
    limit = min(settings.context or max_context, max_context)
    if settings.context is not None and settings.context > max_context:
        raise InputError(f"--context {settings.context}: the model takes at most {max_context} tokens")
    room = limit - prompt
    if room < 1:
        raise InputError(
            f"the prompt has {prompt} tokens and the context holds {limit}, one of them new; "
            f"shorten the prompt to {limit - 1} tokens"
        )
    wanted = settings.max_new_tokens
    if wanted is not None and wanted > room:
        raise InputError(
            f"--max-new-tokens {wanted}: the prompt has {prompt} tokens, the context holds {limit}; at most {room} fit"
        )
    return replace(settings, max_new_tokens=min(NEW_TOKENS, room) if wanted is None else wanted)


def make_workload(
    codec: TextCodec, text: str, source: str, prompt_tokens: int, max_new_tokens: int, max_context: int
) -> Workload:
    """The first `prompt_tokens` tokens of a text, prefix included, and the tokens to generate."""
    ids = codec.encode_prompt(text)[:prompt_tokens]
    fit(RunSettings(max_new_tokens=max_new_tokens), len(ids), max_context)
    return Workload(source=source, prompt_ids=ids, max_new_tokens=max_new_tokens)


def workload_text(prompt: str | None, file: Path | None, package: Package) -> tuple[str, str]:
    """The text to cut a prompt from and, for people, where it is from."""
    if prompt is not None and file is not None:
        raise InputError("give -p or --text, not both")
    if prompt is not None:
        return prompt, "given prompt"
    return (read_text(file), file.name) if file else (golden_prompt(package), "golden prompt")


def golden_prompt(package: Package) -> str:
    """The prompt that the package's reference outputs were computed with."""
    entries = package.with_role("golden")
    try:
        return str(json.loads(package.read(entries[0].path))["prompt"])
    except (IndexError, KeyError, TypeError, ValueError):
        raise PackageError(f"package {package.manifest.name} has no golden prompt; give -p or --text") from None


def read_text(path: Path) -> str:
    """A text file. Raises InputError where it is not one."""
    try:
        return decode_text(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def read_prompt(text: str | None, file: Path | None, stdin: BinaryIO) -> str:
    """The text itself, "-" for stdin, or a file's; one newline at the end of stdin and of a file is dropped."""
    if (text is None) == (file is None):
        raise InputError("give one prompt: -p TEXT, -p - for stdin, or -f FILE")
    if file is not None:
        return read_text(file).removesuffix("\n")
    return decode_text(stdin.read(), "stdin").removesuffix("\n") if text == "-" else text or ""


def decode_text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text (byte {error.start}); convert it first") from None


def windows(ids: Sequence[int], prefix: Sequence[int], length: int) -> list[list[int]]:
    """Sequences of at most `length` tokens, each the prefix and the next part of a text, without overlap.

    A tail too short to score a token is left out. Raises InputError where `length` leaves no room for text.
    """
    part = length - len(prefix)
    if part < 1 or length < 2:
        raise InputError(f"--length {length}: expected at least {max(2, len(prefix) + 1)}")
    sequences = [[*prefix, *ids[start : start + part]] for start in range(0, len(ids), part)]
    return [sequence for sequence in sequences if len(sequence) > 1]
