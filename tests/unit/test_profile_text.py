"""Prompts to ids with the prefix once; ids to pieces that are whole characters and together the whole text."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from flashneuron.errors import InputError, PackageError
from flashneuron.profile.text import TextCodec

SAMPLE = Path(__file__).parents[2] / "models" / "sample" / "tokenizer.json"
CODEC = TextCodec(SAMPLE.read_bytes(), [2])
BYTES = {f"<0x{value:02X}>": value for value in range(256)}


def byte_fallback_codec() -> TextCodec:
    """Like Llama's: a token for each byte, joined to characters where they are valid."""
    tokenizer = Tokenizer(models.BPE(vocab=BYTES | {"▁a": 256, "b": 257}, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return TextCodec(tokenizer.to_str().encode(), [])


def pieces(codec: TextCodec, ids: list[int], context: list[int]) -> list[str]:
    stream = codec.stream(context)
    return [*(stream.push(token_id) for token_id in ids), stream.finish()]


def test_prefix_once() -> None:
    ids = CODEC.encode_prompt("In the beginning")
    assert ids[0] == 2
    assert ids.count(2) == 1
    assert CODEC.encode_prompt("</s>In the beginning") == ids


@pytest.mark.parametrize("text", ["", "\udcff"])
def test_prompts_without_text_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        CODEC.encode_prompt(text)


def test_a_broken_tokenizer_is_refused_in_one_line() -> None:
    with pytest.raises(PackageError) as caught:
        TextCodec(b'{"model": 1}', [])
    assert "\n" not in str(caught.value)


@given(st.text(min_size=1))
def test_any_text_streams_back_in_whole_characters(text: str) -> None:
    ids = CODEC.encode(text)
    made = pieces(CODEC, ids, [2])
    assert "".join(made) == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in made)


@pytest.mark.parametrize("text", ["a 🙂 b", "naïve — “quotes” $HOME `x`\n", "👩‍👩‍👧 family", "日本語"])
def test_emoji_and_quotes(text: str) -> None:
    ids = CODEC.encode(text)
    assert len(ids) > 1
    assert "".join(pieces(CODEC, ids, CODEC.encode_prompt("x"))) == text


@given(st.lists(st.integers(0, 4095), max_size=60))
def test_any_ids_stream_to_what_they_decode_to(ids: list[int]) -> None:
    """Also ids that never make a character: their marks come late, not never, and nothing is lost or doubled."""
    assert "".join(pieces(CODEC, ids, [])) == CODEC.decode(ids)


@given(st.text(alphabet="ab é€🙂", min_size=1))
def test_byte_fallback_joins_bytes_of_neighbours(text: str) -> None:
    codec = byte_fallback_codec()
    ids = [BYTES[f"<0x{value:02X}>"] for value in text.encode()]
    made = pieces(codec, ids, [])
    assert "".join(made) == text
    assert not any("\ufffd" in piece for piece in made)


def test_invalid_bytes_are_not_held_back_for_ever() -> None:
    lone = json.loads(SAMPLE.read_text())["model"]["vocab"]["Ģ"]  # byte 0x80 alone: never starts a character
    made = pieces(CODEC, [lone] * 100, [])
    assert len("".join(made[:-1])) >= 90
