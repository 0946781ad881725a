"""Text to token ids and back, on the host, with a package's tokenizer.json."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

from flashneuron.errors import InputError, PackageError
from flashneuron.package.manifest import Package

UNKNOWN = "\ufffd"  # what decoders print for bytes that are not UTF-8 (yet)
CONTEXT_IDS = 8  # ids before a piece that its decoding may depend on (leading spaces)
OPEN_BYTES = 3  # a UTF-8 character that is not complete has at most so many bytes


class TextCodec:
    """Encodes prompts with the model's prefix in front, once; decodes ids."""

    def __init__(self, tokenizer_json: bytes, prefix_ids: Sequence[int]) -> None:
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer_json)
        except Exception as error:  # the library raises a bare Exception
            raise PackageError(f"the tokenizer cannot be read ({str(error).splitlines()[0]}); export again") from None
        self.prefix_ids = list(prefix_ids)

    @classmethod
    def of(cls, package: Package) -> TextCodec:
        return cls(package.tokenizer_json(), package.manifest.model.prompt_prefix_ids)

    def vocabulary(self) -> dict[str, int]:
        """Id of each token."""
        ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        return ids

    def encode(self, text: str) -> list[int]:
        """Ids of the text alone."""
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise InputError("the text is not UTF-8; convert it first") from None
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def encode_prompt(self, text: str) -> list[int]:
        """Prefix and text. A text that spells the prefix out itself gets no second one. Raises InputError if empty."""
        ids = self.encode(text)
        if not ids:
            raise InputError("the prompt is empty; give some text to continue")
        prefix = self.prefix_ids
        return ids if prefix and ids[: len(prefix)] == prefix else prefix + ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def stream(self, context: Sequence[int]) -> TextStream:
        return TextStream(self, context)


class TextStream:
    """Text of ids as they come: each piece ends at a complete character, and the pieces together are the whole text.

    Decodes a short window again for each id, since a byte, a space or a merge may change how its neighbours read.
    Invariant: `_shown` is the part of decode(_window) that was handed out.
    """

    def __init__(self, codec: TextCodec, context: Sequence[int]) -> None:
        self._codec = codec
        self._window = list(context[-CONTEXT_IDS:])
        self._shown = codec.decode(self._window)

    def push(self, token_id: int) -> str:
        self._window.append(token_id)
        text = self._codec.decode(self._window)
        open_marks = min(len(text) - len(text.rstrip(UNKNOWN)), OPEN_BYTES)
        ready = text[: len(text) - open_marks]
        if open_marks and not ready.startswith(self._shown):
            return ""  # bytes of a character are still missing, and their neighbours read differently until they come
        piece = ready[len(self._shown) :]
        self._shown = ready if len(ready) > len(self._shown) else self._shown
        if not open_marks and len(self._window) > 2 * CONTEXT_IDS:
            self._forget()
        return piece

    def _forget(self) -> None:
        """Shortens the window, unless that cuts a character in two; a later piece will do."""
        tail = self._window[-CONTEXT_IDS:]
        text = self._codec.decode(tail)
        if UNKNOWN not in text:
            self._window, self._shown = tail, text

    def finish(self) -> str:
        """What was held back: marks for bytes that never became a character."""
        text = self._codec.decode(self._window)
        piece, self._shown = text[len(self._shown) :], text
        return piece
