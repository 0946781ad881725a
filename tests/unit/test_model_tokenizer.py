"""Tokenizers: conversion of vocab.json + merges.txt, and what stands before a prompt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_opt
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import GPT2Tokenizer

from flashneuron.errors import ModelError
from flashneuron.model.tokenizer import prompt_prefix_ids, read_tokenizer_json

SAMPLE = Path(__file__).parents[2] / "models" / "sample"
TEXTS = ["In the beginning", "  two  spaces", "don't\nstop", "naïve 🙂 café", "</s>a", '$HOME `x` "q"', ""]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's tokenizer as the original OPT folders have theirs: vocab.json, merges.txt and a config."""
    folder = tmp_path_factory.mktemp("parts")
    model = json.loads((SAMPLE / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    token = {"content": "</s>", "__type": "AddedToken", "special": True}
    config = {"add_bos_token": True, "bos_token": token, "eos_token": token, "unk_token": token, "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("text", TEXTS)
def test_converted_equals_the_whole_tokenizer(text: str, parts: Path) -> None:
    made = Tokenizer.from_str(read_tokenizer_json(parts).decode())
    expected = Tokenizer.from_file(str(SAMPLE / "tokenizer.json"))
    assert made.encode(text).ids == expected.encode(text).ids
    assert made.decode(made.encode(text).ids) == expected.decode(expected.encode(text).ids)


def test_converted_equals_transformers(parts: Path) -> None:
    made = Tokenizer.from_str(read_tokenizer_json(parts).decode())
    reference = GPT2Tokenizer.from_pretrained(parts)
    for text in TEXTS:
        expected = reference(text, add_special_tokens=False).input_ids
        assert made.encode(text, add_special_tokens=False).ids == expected


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_survives(text: str) -> None:
    tokenizer = tiny_opt.tokenizer()
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_the_prefix_stands_once(parts: Path) -> None:
    assert prompt_prefix_ids(tiny_opt.tokenizer(prefix=True), {}, 2) == (2,)
    assert prompt_prefix_ids(tiny_opt.tokenizer(prefix=False), {}, 2) == (2,)
    assert prompt_prefix_ids(tiny_opt.tokenizer(prefix=False), {"add_bos_token": False}, 2) == ()
    assert prompt_prefix_ids(tiny_opt.tokenizer(prefix=False), {}, None) == ()
    converted = Tokenizer.from_str(read_tokenizer_json(parts).decode())
    assert prompt_prefix_ids(converted, {}, 0) == (2,)


def test_merges_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "merges.txt").write_text("a b\n")
    with pytest.raises(ModelError, match="are not a BPE vocabulary"):
        read_tokenizer_json(tmp_path)
