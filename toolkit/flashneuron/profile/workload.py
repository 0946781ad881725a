"""What a run computes: the prompt and how many tokens follow, checked against the model before anything is pushed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import BinaryIO

from flashneuron.errors import InputError
from flashneuron.profile.run_file import Workload
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.text import TextCodec

NEW_TOKENS = 128  # of `run`, where nothing is said
PAPER_PROMPT_TOKENS, PAPER_NEW_TOKENS = 128, 256  # what `profile` measures, where nothing is said
DEFAULT_SOURCE = "default text"


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


@dataclass(frozen=True)
class Prompt:
    """A text and how much of it is taken; None leaves a length to `make_workload`."""

    source: str  # where it is from, for people
    text: str
    whole: bool  # meant as it is, rather than a text to cut a prompt from
    prompt_tokens: int | None = None
    max_new_tokens: int | None = None


def make_workload(prompt: Prompt, codec: TextCodec, max_context: int) -> tuple[Workload, str | None]:
    """The first tokens of a text, prefix included, and how many to generate: as asked, else the paper's lengths as far
    as the model's context goes. Also a line that says what was cut. Raises InputError where what is asked does not fit.
    """
    ids = codec.encode_prompt(prompt.text)
    wanted = prompt.prompt_tokens or PAPER_PROMPT_TOKENS
    taken = min(wanted, len(ids))
    if prompt.prompt_tokens is None and not prompt.whole:
        left = max_context - (prompt.max_new_tokens or PAPER_NEW_TOKENS)
        if prompt.max_new_tokens is None:  # where both lengths do not fit, they shrink alike
            left = max(left, max_context * PAPER_PROMPT_TOKENS // (PAPER_PROMPT_TOKENS + PAPER_NEW_TOKENS))
        taken = max(1, min(taken, left))
    new = prompt.max_new_tokens or min(PAPER_NEW_TOKENS, max(1, max_context - taken))
    fit(RunSettings(max_new_tokens=new), taken, max_context)
    workload = Workload(source=prompt.source, prompt_ids=ids[:taken], max_new_tokens=new)
    return workload, _what_was_cut(prompt, len(ids), workload, max_context)


def _what_was_cut(prompt: Prompt, tokens: int, workload: Workload, max_context: int) -> str | None:
    taken, new = len(workload.prompt_ids), workload.max_new_tokens
    wanted = prompt.prompt_tokens or PAPER_PROMPT_TOKENS
    found = []
    if taken < wanted and taken < tokens:
        found.append(f"{taken} tokens in instead of {wanted}, since the context holds {max_context}")
    elif taken < wanted and not prompt.whole:
        found.append(f"{taken} tokens in instead of {wanted}, since the text has no more")
    elif taken < tokens and prompt.whole and prompt.prompt_tokens is None:
        found.append(f"the first {taken} of {tokens} tokens in")
    if prompt.max_new_tokens is None and new < PAPER_NEW_TOKENS:
        found.append(f"{new} tokens out instead of {PAPER_NEW_TOKENS}, since the context holds {max_context}")
    return f"{prompt.source}: {'; '.join(found)}" if found else None


def prompt_of(text: str | None, file: Path | None, prompt_tokens: int | None, max_new_tokens: int | None) -> Prompt:
    """The one prompt of -p, --text or neither. Errors: InputError."""
    if text is not None and file is not None:
        raise InputError("give -p or --text, not both")
    if text is not None:
        return Prompt("given prompt", text, True, prompt_tokens, max_new_tokens)
    source, text = (file.name, read_text(file)) if file else (DEFAULT_SOURCE, default_text())
    return Prompt(source, text, False, prompt_tokens, max_new_tokens)


def default_text() -> str:
    """A part of the sample model's held-out text (public domain), of about 2000 tokens."""
    return resources.files("flashneuron.profile").joinpath("default_prompt.txt").read_text(encoding="utf-8")


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
