"""Calibration text and its sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_opt

from flashneuron.export.texts import read_texts, token_sequences
from flashneuron.model.folder import open_model

SAMPLE = Path(__file__).parents[2] / "models" / "sample"


def test_a_folders_own_text_is_used_with_its_held_out_text() -> None:
    text = read_texts((), SAMPLE)
    assert text.train == (SAMPLE / "calibration.txt").read_text()
    assert text.validation == (SAMPLE / "heldout.txt").read_text()


def test_a_text_comes_along(tmp_path: Path) -> None:
    text = read_texts((), tmp_path)
    whole = text.train + text.validation
    assert len(whole) > 600_000
    assert (SAMPLE / "calibration.txt").read_text().startswith(whole)
    assert 0.09 < len(text.validation) / len(whole) < 0.11


def test_given_files_come_first(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"{name}\n" * 100)
    text = read_texts((tmp_path / "a", tmp_path / "b"), SAMPLE)
    assert text.train.startswith("a\n")
    assert text.train.endswith("b\n")
    assert text.validation == (SAMPLE / "heldout.txt").read_text()


def test_sequences_begin_with_the_prefix_and_hold_the_text_in_order(tmp_path: Path) -> None:
    folder = open_model(tiny_opt.save_safetensors(tiny_opt.make_model(), tmp_path))
    train, validation = token_sequences(read_texts((), SAMPLE), folder)
    assert {len(ids) for ids in (*train, *validation)} == {40}
    assert {int(ids[0]) for ids in train} == {2}
    tokenizer = tiny_opt.tokenizer()
    assert tokenizer.decode(np.concatenate([ids[1:] for ids in train[:50]]).tolist()) in read_texts((), SAMPLE).train


@pytest.mark.parametrize("part", ["train", "validation"])
def test_fingerprints_follow_both_parts(part: str, tmp_path: Path) -> None:
    text = read_texts((), SAMPLE)
    changed = text.__class__(**{**text.__dict__, part: "x"})
    assert changed.fingerprint() != text.fingerprint()
