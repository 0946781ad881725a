"""What `profile` computes: lengths that fit the model, workload files, and their defects in one line each."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from fake_profile import TINY
from hypothesis import given, settings
from hypothesis import strategies as st

from flashneuron.cli import profile
from flashneuron.errors import InputError
from flashneuron.package.manifest import Package
from flashneuron.profile import workload_file
from flashneuron.profile.text import TextCodec
from flashneuron.profile.workload import Prompt, default_text, make_workload, prompt_of
from flashneuron.profile.workload_file import read_workload

CODEC = TextCodec.of(Package.open(TINY))  # one token a letter, behind one prefix token


def lengths(prompt: Prompt, context: int) -> tuple[int, int, str | None]:
    made, cut = make_workload(prompt, CODEC, context)
    return len(made.prompt_ids), made.max_new_tokens, cut


def cuttable(prompt_tokens: int | None = None, new: int | None = None, letters: int = 1000) -> Prompt:
    return Prompt("essay", "a" * letters, False, prompt_tokens, new)


def whole(letters: int, prompt_tokens: int | None = None, new: int | None = None) -> Prompt:
    return Prompt("given", "a" * letters, True, prompt_tokens, new)


@pytest.mark.parametrize(
    ("prompt", "context", "expected"),
    [
        (cuttable(), 2048, (128, 256)),
        (cuttable(), 384, (128, 256)),
        (cuttable(), 300, (100, 200)),
        (cuttable(), 16, (5, 11)),
        (cuttable(64), 2048, (64, 256)),
        (cuttable(64), 128, (64, 64)),
        (cuttable(new=100), 128, (28, 100)),
        (cuttable(64, 32), 96, (64, 32)),
        (whole(9), 2048, (10, 256)),
        (whole(9), 16, (10, 6)),
        (whole(500), 2048, (128, 256)),
        (whole(500, 300), 2048, (300, 256)),
    ],
)
def test_lengths_are_as_asked_else_the_papers_as_far_as_they_fit(
    prompt: Prompt, context: int, expected: tuple[int, int]
) -> None:
    assert lengths(prompt, context)[:2] == expected


@pytest.mark.parametrize(
    ("prompt", "context", "says"),
    [
        (cuttable(), 2048, None),
        (cuttable(64, 32), 96, None),
        (whole(9), 2048, None),
        (cuttable(), 300, "100 tokens in instead of 128, since the context holds 300; 200 tokens out instead of 256"),
        (cuttable(letters=50), 2048, "51 tokens in instead of 128, since the text has no more"),
        (whole(500), 2048, "the first 128 of 501 tokens in"),
    ],
)
def test_what_is_cut_is_said(prompt: Prompt, context: int, says: str | None) -> None:
    cut = lengths(prompt, context)[2]
    assert (cut is None) == (says is None)
    assert says is None or f"{prompt.source}: {says}" in str(cut)


@settings(deadline=None)
@given(st.integers(2, 400), st.integers(1, 500), st.integers(2, 5000))
def test_what_is_open_always_fits(letters: int, prompt_tokens: int, context: int) -> None:
    taken, new, _ = lengths(cuttable(letters=letters), context)
    assert taken >= 1 <= new
    assert taken + new <= context
    assert lengths(cuttable(new=2, letters=letters), context + 1)[0] + 2 <= context + 1
    taken, new, _ = lengths(cuttable(prompt_tokens, letters=letters), prompt_tokens + 1)
    assert taken + new <= prompt_tokens + 1


def test_what_is_asked_and_does_not_fit_is_refused() -> None:
    for prompt, context in ((whole(20), 16), (whole(3, new=13), 16), (cuttable(16), 16), (cuttable(8, 9), 16)):
        with pytest.raises(InputError, match=r"fit|shorten"):
            make_workload(prompt, CODEC, context)


def test_the_default_text_is_long_enough_for_the_papers_prompt() -> None:
    assert len(default_text().split()) > 1000
    assert prompt_of(None, None, None, None).text == default_text()


TOML = """
prompt_tokens = 6
[[prompts]]
text = "abc"
max_new_tokens = 3
[[prompts]]
file = "essay.txt"
[[prompts]]
name = "long"
prompt_tokens = 9
"""


@pytest.mark.parametrize("form", ["toml", "json"])
def test_a_workload_file_has_prompts_with_lengths_of_their_own(tmp_path: Path, form: str) -> None:
    (tmp_path / "essay.txt").write_text("e" * 30)
    prompts = [{"text": "abc", "max_new_tokens": 3}, {"file": "essay.txt"}, {"name": "long", "prompt_tokens": 9}]
    text = TOML if form == "toml" else json.dumps({"prompt_tokens": 6, "prompts": prompts})
    (tmp_path / f"chat.{form}").write_text(text)
    found = read_workload(tmp_path / f"chat.{form}")
    assert [(each.source, each.whole, each.prompt_tokens, each.max_new_tokens) for each in found] == [
        ("chat: prompt 1", True, 6, 3),
        ("chat: essay.txt", False, 6, None),
        ("chat: long", False, 9, None),
    ]
    assert [each.text for each in found] == ["abc", "e" * 30, default_text()]


def test_the_examples_that_people_are_shown_are_read(tmp_path: Path) -> None:
    (tmp_path / "essay.txt").write_text("to be or not to be")
    readme = (TINY.parents[2] / "README.md").read_text()
    shown = [block for block in readme.split("```")[1::2] if "[[prompts]]" in block]
    shown.append(textwrap.dedent((workload_file.__doc__ or "").partition("\n\n")[2]))
    words = (profile.command.help or "").partition("prompts = ")[2]
    shown.append("prompts = " + words.partition("\n\n")[0])
    for text in shown:
        (tmp_path / "shown.toml").write_text(text)
        assert len(read_workload(tmp_path / "shown.toml")) >= 2
    assert len(shown) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "prompts: Field required"),
        ("prompts = []", "prompts: List should have at least 1 item"),
        ("prompts = 3", "prompts: Input should be a valid list"),
        ("prompts = [{texts = 'a'}]", "prompts.1.texts: Extra inputs are not permitted"),
        ("prompts = [{}, {text = ''}]", "prompts.2.text: String should have at least 1 character"),
        ("prompts = [{prompt_tokens = 0}]", "prompts.1.prompt_tokens: Input should be greater than or equal to 1"),
        ("prompts = [{max_new_tokens = 1}]", "prompts.1.max_new_tokens: Input should be greater than or equal to 2"),
        ("prompts = [{max_new_tokens = '8'}]", "prompts.1.max_new_tokens: Input should be a valid integer"),
        ("prompts = [{max_new_tokens = true}]", "prompts.1.max_new_tokens: Input should be a valid integer"),
        ("prompts = [{text = 'a', file = 'b'}]", "prompts.1: give text or file, not both"),
        ("prompts = [{file = 'missing.txt'}]", "missing.txt: No such file"),
        ("prompts = [{name = 'x'}, {name = 'x'}]", "chat: x is there twice"),
        ('prompts = [{name = "a\\nb"}]', "prompts.1.name: expected a name that can be printed"),
        ("prompts = [", "is not TOML"),
        ("{}", "is not TOML"),
    ],
)
def test_a_defect_of_a_workload_file_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "chat.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_workload(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(st.text(), st.sampled_from(["w.toml", "w.json"]))
def test_no_text_makes_it_fail_otherwise(tmp_path_factory: pytest.TempPathFactory, text: str, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(text.encode("utf-8", "replace"))
    with pytest.raises(InputError):
        read_workload(path)
