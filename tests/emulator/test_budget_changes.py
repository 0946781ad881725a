"""A budget cut to half in mid-generation on the emulated phone, whose RAM the kernel caps: same tokens, less memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import SAMPLE
from tokenizers import Tokenizer

from flashneuron.device.phones import RunningPhone
from flashneuron.errors import RunnerError
from flashneuron.package.manifest import Package
from flashneuron.profile.run_file import find_runs, read_run
from flashneuron.profile.session import Generation, Session
from flashneuron.profile.settings import RunSettings

NEW_TOKENS, CUT_AT = 96, 40
MIB = 1 << 20
KINDS: list[dict[str, Any]] = [
    {"predictor": "lowrank"},
    {"predictor": "lowrank", "window": 4},
    {"predictor": "none"},
    {"predictor": "lowrank", "residency": "hybrid"},
]


@pytest.fixture(scope="module")
def prompt() -> list[int]:
    tokenizer = Tokenizer.from_file(str(SAMPLE / "tokenizer.json"))
    return list(tokenizer.encode("What though the field be lost? All is not lost").ids)


def settings(session: Session, prompt: list[int], **more: Any) -> tuple[RunSettings, int, int]:
    """Settings, and the smallest and the largest budget that mean anything with them."""
    asked = {"max_new_tokens": NEW_TOKENS, "ignore_eos": True, "temperature": 0.8, "seed": 3, **more}
    asked["context"] = len(prompt) + NEW_TOKENS
    budget = session.budget(RunSettings(**asked).of_runtime())
    return RunSettings(**asked), budget.minimum_bytes, budget.all_resident_bytes


def change(base: RunSettings, **fields: Any) -> RunSettings:
    return RunSettings(**{**base.asked(), **fields})


def rss_after(made: Generation, index: int) -> list[int]:
    return [token.rss_bytes for token in made.tokens if token.index >= index and token.rss_bytes is not None]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: " ".join(map(str, kind.values())))
def test_neurons_cut_to_half_give_the_same_tokens_and_their_memory(
    session: Session, prompt: list[int], kind: dict[str, Any]
) -> None:
    base, low, high = settings(session, prompt, **kind)
    half = (low + high) // 2
    unchanged = session.generate(base, prompt)
    made = session.generate(change(base, ram_at=f"{CUT_AT}:{half}"), prompt)
    assert made.result.token_ids == unchanged.result.token_ids
    (cut,) = made.budget_changes
    assert (cut.index, cut.ram_bytes) == (CUT_AT, half)
    assert 0 < cut.neurons_bytes < high - low
    before = made.tokens[CUT_AT - 1].rss_bytes
    assert before is not None
    if kind.get("residency") != "hybrid":  # which holds less than that from the start
        assert before - cut.rss_bytes > (high - low) // 3, "what neurons lost is the system's"
    later = rss_after(made, CUT_AT + 1)  # from the second token after the change on
    assert len(later) == NEW_TOKENS - CUT_AT - 1
    assert max(later) <= half
    assert not unchanged.budget_changes
    assert unchanged.tokens[0].rss_bytes is None


def test_cut_grown_and_cut_again(session: Session, prompt: list[int]) -> None:
    base, low, high = settings(session, prompt, predictor="lowrank")
    sizes = [low + (high - low) * share // 10 for share in (2, 9, 1, 6)]
    schedule = ",".join(f"{12 * (n + 1)}:{size + MIB}" for n, size in enumerate(sizes))
    made = session.generate(change(base, ram=high, ram_at=schedule), prompt)
    assert made.result.token_ids == session.generate(base, prompt).result.token_ids
    assert [each.ram_bytes for each in made.budget_changes] == [size + MIB for size in sizes]
    assert all(each.rss_bytes <= each.ram_bytes for each in made.budget_changes)
    assert made.result.memory.ram_bytes == high
    hits = [sum(t.hits for t in made.tokens if 12 * n <= t.index < 12 * (n + 1)) for n in (2, 3)]
    assert hits[0] > hits[1], "a larger cache is used"


def test_what_cannot_shrink_is_refused_with_the_table_before_the_first_token(
    session: Session, prompt: list[int]
) -> None:
    base, low, _ = settings(session, prompt, predictor="lowrank")
    with pytest.raises(RunnerError) as refused:
        session.generate(change(base, ram_at=f"5:{low // 2}"), prompt)
    assert refused.value.code == "budget_too_small"
    assert {role["role"] for role in refused.value.detail["roles"]} >= {"process", "neurons"}


def test_the_budget_follows_what_the_phone_has_left(session: Session, prompt: list[int]) -> None:
    """Its MemAvailable never changes, so that the bytes to keep free say what comes of it."""
    base, low, high = settings(session, prompt, predictor="lowrank", ram=None)
    base = change(base, ram=high)
    available = int(session.conditions()["ram_available_bytes"])
    roomy = session.generate(change(base, follow_memory=64 * MIB), prompt)
    assert not roomy.budget_changes
    tight = session.generate(change(base, follow_memory=available), prompt)
    assert tight.result.token_ids == roomy.result.token_ids
    assert tight.budget_changes
    assert low - MIB <= tight.budget_changes[0].ram_bytes < high


def test_profile_keeps_the_changes_and_the_report_shows_them(
    phone: RunningPhone, session: Session, sample_fp32: Package, prompt: list[int], tmp_path: Path
) -> None:
    _, low, high = settings(session, prompt, predictor="lowrank")
    command = [sys.executable, "-m", "flashneuron", "profile", str(sample_fp32.folder), "--device", phone.device]
    command += ["--ram", str(high), "--ram-at", f"20:{(low + high) // 2 + MIB}", "--repeat", "1", "--cool-down", "0"]
    command += ["--prompt-tokens", "16", "--max-new-tokens", "48", "-o", str(tmp_path / "runs"), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (run,) = map(read_run, find_runs([tmp_path / "runs"]))
    (cut,) = run.budget_changes
    assert cut.index == 20
    (point,) = json.loads(done.stdout)["points"]
    ((effect,),) = point["budget_changes"]
    assert effect["index"] == 20
    assert effect["rss_bytes"] <= cut.ram_bytes
