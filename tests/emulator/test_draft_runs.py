"""A draft changes no token: real attention programs, on this machine, whatever drafts and wherever bytes come from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from conftest import SAMPLE
from tokenizers import Tokenizer
from transformers import OPTConfig, OPTForCausalLM

from flashneuron.cli.main import cli
from flashneuron.errors import RunnerError
from flashneuron.export.pipeline import export_model
from flashneuron.export.recipe import ExportRecipe
from flashneuron.package.manifest import Package
from flashneuron.profile.drafts import open_drafts, push_drafts
from flashneuron.profile.session import Generation, Session, open_session
from flashneuron.profile.settings import RunSettings
from flashneuron.progress import SilentProgress

NEW_TOKENS = 40
PROMPTS = ("In the beginning God created", "ROMEO. O, she doth teach the torches")
GREEDY: dict[str, Any] = {"max_new_tokens": NEW_TOKENS, "ignore_eos": True}
WARM = GREEDY | {"temperature": 0.8, "seed": 11}


def stranger(folder: Path) -> Path:
    """A random model that takes the sample's ids."""
    torch.manual_seed(3)
    facts = OPTConfig.from_pretrained(SAMPLE).to_dict()
    facts |= {"hidden_size": 64, "word_embed_proj_dim": 64, "ffn_dim": 128, "num_hidden_layers": 1}
    OPTForCausalLM(OPTConfig(**facts)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "calibration.txt", "heldout.txt"):
        shutil.copy(SAMPLE / name, folder)
    return folder


@pytest.fixture(scope="module")
def drafts(tmp_path_factory: pytest.TempPathFactory, sample_fp32: Package) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("drafts")
    coarse = ExportRecipe(dtype="int4", attention="int8", predictor="none", max_chunk=8)
    export_model(SAMPLE, folder / "int4.fnpkg", coarse, SilentProgress())
    export_model(stranger(folder / "model"), folder / "stranger.fnpkg", coarse, SilentProgress())
    return {"itself": str(sample_fp32.folder)} | {name: str(folder / f"{name}.fnpkg") for name in ("int4", "stranger")}


@pytest.fixture(scope="module")
def session(sample_fp32: Package, drafts: dict[str, str]) -> Iterator[Session]:
    with open_session(sample_fp32, "host", SilentProgress()) as bare:
        packages = open_drafts(sample_fp32, [RunSettings(draft=folder) for folder in drafts.values()])
        yield push_drafts(bare, packages, SilentProgress())


def ids_of(text: str) -> list[int]:
    ids: list[int] = Tokenizer.from_file(str(SAMPLE / "tokenizer.json")).encode(text).ids
    return ids


def generate(session: Session, prompt: str, settings: dict[str, Any]) -> Generation:
    return session.generate(RunSettings(**settings), ids_of(prompt))


VARIATIONS: list[dict[str, Any]] = [
    {"draft": "itself", "predictor": "none", "draft_tokens": 7},
    {"draft": "itself", "residency": "naive", "overlap": "off"},
    {"draft": "int4", "residency": "hybrid", "predictor": "oracle", "kv": "int8"},
    {"draft": "int4", "predictor": "lowrank", "window": 3, "layout": "split", "threads": 1},
    {"draft": "int4", "predictor": "oracle", "kv": "fp32", "draft_tokens": 1},
    {"draft": "stranger", "predictor": "lowrank", "draft_tokens": 3},
]


@pytest.mark.parametrize("variation", VARIATIONS, ids=lambda v: " ".join(map(str, v.values())))
def test_tokens_are_those_without_a_draft(session: Session, drafts: dict[str, str], variation: dict[str, Any]) -> None:
    others = {name: value for name, value in variation.items() if not name.startswith("draft")}
    drafting = variation | {"draft": drafts[variation["draft"]]}
    for prompt, sampling in zip(PROMPTS, (GREEDY, WARM), strict=True):
        context = {"context": len(ids_of(prompt)) + NEW_TOKENS}
        least = session.budget(RunSettings(**drafting, **context)).minimum_bytes
        for ram in (None, least + (3 << 20)):
            alone = generate(session, prompt, others | sampling | {"ram": ram})
            drafted = generate(session, prompt, drafting | sampling | {"ram": ram})
            assert drafted.result.token_ids == alone.result.token_ids
            assert drafted.result.decode_steps == alone.result.decode_steps == NEW_TOKENS - 1
            assert drafted.result.rounds is not None
            assert sum(token.wall_us for token in drafted.tokens[1:]) == drafted.result.totals.wall_us


def test_how_much_is_accepted_follows_the_draft(session: Session, drafts: dict[str, str]) -> None:
    shares = {}
    for name, folder in drafts.items():
        result = generate(session, PROMPTS[0], GREEDY | {"draft": folder}).result
        assert result.drafted
        shares[name] = (result.accepted or 0) / result.drafted
    assert shares["itself"] == 1
    assert shares["stranger"] < 0.1 < shares["int4"]


def test_a_draft_needs_its_bytes_in_the_budget(session: Session, drafts: dict[str, str]) -> None:
    drafting = RunSettings(draft=drafts["int4"], context=64)
    with_draft, without = session.budget(drafting), session.budget(RunSettings(context=64))
    own = {role.role: role.bytes for role in with_draft.roles}["draft"]
    assert own > 4 << 20
    assert with_draft.minimum_bytes >= without.minimum_bytes + own
    settings = {"draft": drafts["int4"], "max_new_tokens": 8, "ram": with_draft.minimum_bytes - own}
    with pytest.raises(RunnerError) as caught:
        generate(session, PROMPTS[0], settings)
    assert caught.value.code == "budget_too_small"
    assert any(role["role"] == "draft" for role in caught.value.detail["roles"])


def test_run_says_how_many_tokens_were_accepted(sample_fp32: Package, drafts: dict[str, str]) -> None:
    words = ["run", str(sample_fp32.folder), "-p", PROMPTS[0], "--device", "host", "--max-new-tokens", "12"]
    plain, drafted = (
        CliRunner().invoke(cli, [*words, "--format", "json", *more], catch_exceptions=False)
        for more in ([], ["--draft", drafts["itself"], "--draft-tokens", "3"])
    )
    expected, found = json.loads(plain.stdout), json.loads(drafted.stdout)
    assert found["token_ids"] == expected["token_ids"]
    assert found["settings"]["draft_tokens"] == "3"
    assert found["stats"]["accepted"] == found["stats"]["drafted"] > 0
