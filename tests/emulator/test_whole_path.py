"""The whole path on the emulated phone: export, push, run, score, profile, against Hugging Face in float32."""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from conftest import SAMPLE
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from flashneuron.cli.main import cli
from flashneuron.device.phones import RunningPhone
from flashneuron.errors import RunnerError
from flashneuron.package.manifest import Package
from flashneuron.profile.run_file import find_runs, read_run
from flashneuron.profile.session import Session
from flashneuron.profile.settings import RunSettings

PROMPTS = (
    "In the beginning God created",
    "To be, or not to be: that is",
    "And the king said unto them,",
    "What though the field be lost?",
    "ROMEO. O, she doth teach the torches",
)
NEW_TOKENS = 64
EXACT = RunSettings(kv="fp32", max_new_tokens=NEW_TOKENS, ignore_eos=True, predictor="none")


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(SAMPLE / "tokenizer.json"))
    return [tokenizer.encode(prompt).ids for prompt in PROMPTS]


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(SAMPLE, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def expected(model: Any, prompts: list[list[int]]) -> list[list[int]]:
    """Hugging Face's greedy tokens."""
    with torch.no_grad():
        return [
            model.generate(
                torch.tensor([ids]),
                max_new_tokens=NEW_TOKENS,
                min_new_tokens=NEW_TOKENS,
                do_sample=False,
                eos_token_id=[],
            )[0, len(ids) :].tolist()
            for ids in prompts
        ]


def generate(session: Session, settings: RunSettings, prompts: list[list[int]]) -> list[list[int]]:
    return [session.generate(settings, ids).result.token_ids for ids in prompts]


def change(**fields: Any) -> RunSettings:
    return RunSettings(**{**EXACT.asked(), **fields})


@pytest.mark.parametrize("predictor", ["none", "oracle"])
def test_greedy_tokens_equal_hugging_face_in_float32(
    session: Session, prompts: list[list[int]], expected: list[list[int]], predictor: str
) -> None:
    assert generate(session, change(predictor=predictor), prompts) == expected


def test_the_packages_own_golden_tokens_come_out(session: Session) -> None:
    golden = json.loads(session.package.read("golden.json"))
    settings = change(max_new_tokens=len(golden["token_ids"]))
    assert session.generate(settings, golden["prompt_ids"]).result.token_ids == golden["token_ids"]


def small_and_large(session: Session, settings: RunSettings, prompt: list[int]) -> tuple[int, int]:
    fields = {**settings.of_runtime().asked(), "context": len(prompt) + NEW_TOKENS, "ram": None}
    budget = session.budget(RunSettings(**fields))
    return budget.minimum_bytes, budget.all_resident_bytes


VARIATIONS: list[dict[str, Any]] = [
    {"residency": "naive"},
    {"residency": "naive", "layout": "split", "threads": 1},
    {"residency": "hybrid", "layout": "split"},
    {"residency": "cached", "layout": "split", "threads": 1},
    {"predictor": "oracle", "residency": "hybrid", "threads": 3},
    {"predictor": "oracle", "window": 1},
    {"predictor": "oracle", "window": 4, "layout": "split"},
    {"predictor": "oracle", "window": 50, "io_threads": 1, "threads": 1},
    {"predictor": "oracle", "window": "auto", "io_threads": 32},
]


@pytest.mark.parametrize("variation", VARIATIONS, ids=lambda v: " ".join(map(str, v.values())))
@pytest.mark.parametrize("share", [0.0, 0.3, None], ids=["minimum", "0.3", "all resident"])
def test_no_switch_changes_a_token(
    session: Session,
    prompts: list[list[int]],
    expected: list[list[int]],
    variation: dict[str, Any],
    share: float | None,
) -> None:
    """Tokens at each budget; bits are compared in the C++ tests, and below by score()."""
    prompt = prompts[1]
    ram = None
    if share is not None:
        low, high = small_and_large(session, change(**variation), prompt)
        # The process's own memory is measured anew by each run, so the bare minimum needs a little air.
        ram = int(low + share * (high - low)) + (1 << 20)
    done = session.generate(change(**variation, ram=ram), prompt)
    assert done.result.token_ids == expected[1]


def test_likelihoods_are_the_same_to_the_bit_for_every_switch(session: Session, prompts: list[list[int]]) -> None:
    sequence = [prompts[0] + [9, 17, 33, 256, 12, 99]]
    base = RunSettings(kv="fp32", predictor="none")
    likelihoods = {
        session.score(RunSettings(**{**base.asked(), **variation}), sequence, lambda tokens: None).nll
        for variation in VARIATIONS
    }
    assert len(likelihoods) == 1


def heldout(session: Session, model: Any) -> list[list[int]]:
    ids = Tokenizer.from_file(str(SAMPLE / "tokenizer.json")).encode((SAMPLE / "heldout.txt").read_text()).ids[1:]
    return [[2, *ids[start : start + 255]] for start in range(0, 8 * 255, 255)]


def test_perplexity_of_the_runtime_is_the_models_and_prediction_costs_under_a_percent(
    session: Session, model: Any
) -> None:
    sequences = heldout(session, model)
    with torch.no_grad():
        tensors = [torch.tensor([ids]) for ids in sequences]
        reference = sum(model(ids, labels=ids).loss.item() * (ids.shape[1] - 1) for ids in tensors)
    dense = session.score(RunSettings(kv="fp32", predictor="none"), sequences, lambda tokens: None)
    assert dense.nll == pytest.approx(reference, rel=1e-5)
    predicted = session.score(RunSettings(kv="fp32", predictor="lowrank"), sequences, lambda tokens: None)
    assert abs(math.exp((predicted.nll - dense.nll) / dense.tokens) - 1) < 0.01


def test_bytes_read_fall_as_the_budget_rises_and_peak_memory_stays_below_it(
    session: Session, prompts: list[list[int]]
) -> None:
    settings = RunSettings(predictor="lowrank", max_new_tokens=48, ignore_eos=True, temperature=0.8, seed=3)
    low, high = small_and_large(session, settings, prompts[0])
    bytes_read = []
    for share in (0.1, 0.3, 0.6, 1.0):
        ram = int(low + share * (high - low)) + (1 << 20)
        done = session.generate(RunSettings(**{**settings.asked(), "ram": ram}), prompts[0])
        bytes_read.append(done.result.totals.bytes_read)
        assert done.result.memory.peak_rss_bytes <= ram
    assert all(more > less for more, less in pairwise(bytes_read)), bytes_read
    assert bytes_read[-1] == 0


def test_a_budget_below_the_minimum_is_refused_with_the_table(session: Session, prompts: list[list[int]]) -> None:
    with pytest.raises(RunnerError) as refused:
        session.generate(change(ram=1 << 20), prompts[0])
    assert refused.value.code == "budget_too_small"
    roles = {role["role"]: role["bytes"] for role in refused.value.detail["roles"]}
    assert set(roles) >= {"process", "attention", "head", "predictor", "kv", "staging", "neurons"}
    assert refused.value.detail["minimum_bytes"] == sum(roles.values()) - roles["neurons"] - roles["embedding"]


def test_the_ladder_is_one_command(phone: RunningPhone, sample_fp32: Package, tmp_path: Path) -> None:
    arguments = ["profile", str(sample_fp32.folder), "--device", phone.device, "--ladder", "--max-new-tokens", "48"]
    arguments += ["--temperature", "0.8", "--seed", "3", "--repeat", "1", "-o", str(tmp_path / "runs")]
    outcome = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    runs = {run.ladder_step: run.result for run in map(read_run, find_runs([tmp_path / "runs"]))}
    totals = [runs[step].totals for step in ("naive", "hybrid", "+ predictor", "+ window", "+ bundling")]
    for before, after in pairwise(totals[:4]):
        assert after.bytes_read < before.bytes_read
    assert totals[4].requests < totals[3].requests
    assert totals[4].bytes_wanted == totals[3].bytes_wanted


def test_a_profile_that_is_killed_goes_on(
    sample_fp32: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed as soon as it says that the second or third run begins, which goes on without it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # a host device of its own
    words = ["profile", str(sample_fp32.folder), "--device", "host", "--residency", "naive", "--max-new-tokens", "200"]
    words += ["--ram", "40M", "--repeat", "3", "-o", str(tmp_path / "runs")]
    begun = random.choice((2, 3))
    command = [sys.executable, "-c", "from flashneuron.cli.main import main; main()", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = list(itertools.takewhile(lambda line: not line.startswith(f"run {begun} of 3"), process.stderr))
        process.kill()
    kept = find_runs([tmp_path / "runs"])
    assert len(kept) == begun - 1, said
    assert all(read_run(path) for path in kept)
    outcome = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    assert f"{begun - 1} of 3 runs were in" in outcome.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 3


@pytest.mark.parametrize(
    "prompt", ['say "hi" to $HOME and `id`', "two\nlines; exit 3", "it's 🙂 — naïve", "\\ & | > <"]
)
def test_prompts_with_shell_characters_simply_work(phone: RunningPhone, sample_fp32: Package, prompt: str) -> None:
    arguments = ["run", str(sample_fp32.folder), "--device", phone.device, "-p", prompt, "--max-new-tokens", "4"]
    outcome = CliRunner().invoke(cli, [*arguments, "--format", "json"], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    assert len(json.loads(outcome.stdout)["token_ids"]) <= 4
