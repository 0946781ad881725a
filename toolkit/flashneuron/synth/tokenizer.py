"""A tokenizer for any vocabulary size: byte-level BPE without merges, and made-up words up to the last id.

Every id decodes to something, every text encodes, and text of the made-up words encodes to their ids. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice, product
from string import ascii_lowercase

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from flashneuron.errors import InputError

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
FIRST_WORD = len(SPECIALS) + 256  # ids before: specials and bytes
_SPACE = "Ġ"  # how byte-level BPE writes a leading space


def make_tokenizer(vocab_size: int, bos_id: int) -> Tokenizer:
    """Of exactly `vocab_size` ids; a prompt begins with `bos_id`."""
    if vocab_size <= FIRST_WORD:
        raise InputError(f"a vocabulary of {vocab_size} is too small; at least {FIRST_WORD + 1} ids are needed")
    tokens = [*SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens += islice((_SPACE + word for word in _words()), vocab_size - len(tokens))
    made = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, [], ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIALS])
    bos = tokens[bos_id]
    made.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, bos_id)])
    return made


def word_of(token: int) -> str:
    """Of an id from FIRST_WORD on, with its leading space: text that encodes to just this id."""
    place, letters = token - FIRST_WORD, 3
    while place >= (size := len(ascii_lowercase) ** letters):
        place, letters = place - size, letters + 1
    word = ""
    for _ in range(letters):
        place, letter = divmod(place, len(ascii_lowercase))
        word = ascii_lowercase[letter] + word
    return " " + word


def _words() -> Iterator[str]:
    return ("".join(letters) for length in count(3) for letters in product(ascii_lowercase, repeat=length))
