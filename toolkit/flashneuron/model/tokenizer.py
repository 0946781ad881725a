"""A model folder's tokenizer as one tokenizer.json, and the special ids that a prompt needs. No torch here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from flashneuron.errors import ModelError
from flashneuron.package.schema import MAX_CHAT_TEMPLATE, ChatFacts


def read_tokenizer_json(folder: Path) -> bytes:
    """tokenizer.json as it is, or made of vocab.json and merges.txt. Errors: ModelError."""
    path = folder / "tokenizer.json"
    if path.is_file():
        content = path.read_bytes()
        parse_tokenizer(content, str(path))
        return content
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    if not (vocabulary.is_file() and merges.is_file()):
        raise ModelError(f"{folder} has no tokenizer: expected tokenizer.json, or vocab.json and merges.txt")
    try:
        model = models.BPE.from_file(str(vocabulary), str(merges))
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"{vocabulary} and {merges.name} are not a BPE vocabulary ({error})") from None
    return _byte_level(model, read_json(folder / "tokenizer_config.json", optional=True)).to_str().encode()


def parse_tokenizer(content: bytes, name: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(content.decode())
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"{name} is not a tokenizer ({str(error).splitlines()[0]}); fetch it again") from None


def prompt_prefix_ids(tokenizer: Tokenizer, tokenizer_config: dict[str, Any], bos_id: int | None) -> tuple[int, ...]:
    """What stands before a prompt: what the tokenizer's post-processor puts there, else the model's bos token.

    A prompt is these ids, then its text encoded without special tokens, so the prefix never stands there twice.
    """
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a").ids
    for start in range(len(full) - len(plain) + 1):
        if plain and full[start : start + len(plain)] == plain and start:
            return tuple(full[:start])
    wanted = tokenizer_config.get("add_bos_token", True)
    return (bos_id,) if wanted and bos_id is not None else ()


def read_chat(folder: Path) -> ChatFacts | None:
    """The chat template: chat_template.jinja, else the one (named `default`, of several) of tokenizer_config.json.

    Errors: ModelError.
    """
    path, config = folder / "chat_template.jinja", read_json(folder / "tokenizer_config.json", optional=True)
    found = config.get("chat_template")
    if isinstance(found, list):
        found = {item.get("name"): item.get("template") for item in found if isinstance(item, dict)}.get("default")
    try:
        template = path.read_text(encoding="utf-8") if path.is_file() else found
        if not template:
            return None
        bos, eos = (_text(config.get(name)) or "" for name in ("bos_token", "eos_token"))
        return ChatFacts(template=template, bos_token=bos, eos_token=eos)
    except (UnicodeDecodeError, ValidationError):
        what = f"its chat template is not text of at most {MAX_CHAT_TEMPLATE} characters"
        raise ModelError(f"{folder}: {what}; fetch it again, or take it away") from None


def read_json(path: Path, optional: bool = False) -> dict[str, Any]:
    """An object of a model folder; {} where an optional file is absent. Errors: ModelError."""
    if optional and not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON ({error}); fetch it again") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a JSON object; fetch it again")
    return content


def _byte_level(model: models.BPE, config: dict[str, Any]) -> Tokenizer:
    """GPT-2's byte-level BPE with OPT's special tokens, as the original slow tokenizer reads these files."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(config.get("add_prefix_space", False)))
    tokenizer.decoder = decoders.ByteLevel()
    known = tokenizer.get_vocab(with_added_tokens=False)
    special = [token for token in ("<s>", "<pad>", "</s>", "<unk>") if token in known]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    bos = _text(config.get("bos_token")) or "</s>"
    if bos in known and config.get("add_bos_token", True):
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, known[bos])]
        )
    return tokenizer


def _text(token: Any) -> str | None:
    """Tokenizer configs hold a token as text or as an object with `content`."""
    value = token.get("content") if isinstance(token, dict) else token
    return value if isinstance(value, str) else None
