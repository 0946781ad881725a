"""A phone with an arm64 processor, which qemu stands for: push picks its runner, and tokens are those of x86-64."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import SAMPLE
from tokenizers import Tokenizer

from flashneuron.cli.main import cli
from flashneuron.device import runtime
from flashneuron.device.abi import device_abi
from flashneuron.device.adb import tcp_device
from flashneuron.device.info import conditions
from flashneuron.device.phones import RunningPhone
from flashneuron.device.sync import push_runner
from flashneuron.emulator.phone import start_phone, stop_phone
from flashneuron.errors import DeviceError
from flashneuron.package.manifest import Package
from flashneuron.profile.session import open_session
from flashneuron.profile.settings import RunSettings
from flashneuron.progress import SilentProgress

PROFILE = "pixel-5-arm64"
PROMPTS = ("In the beginning God created", "To be, or not to be: that is")
GREEDY = {"kv": "fp32", "max_new_tokens": 32, "ignore_eos": True}
PAGES = [4096, 16384]


@pytest.fixture(scope="module")
def arm64_phone() -> Iterator[RunningPhone]:
    started = start_phone(PROFILE, SilentProgress(), name=f"test-arm64-{os.getpid()}")
    yield started
    stop_phone(started.name, wipe=True)


def prompts() -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(SAMPLE / "tokenizer.json"))
    return [tokenizer.encode(prompt).ids for prompt in PROMPTS]


def tokens_on(device: str, package: Package, settings: RunSettings) -> list[list[int]]:
    with open_session(package, device, SilentProgress()) as session:
        return [session.generate(settings, ids).result.token_ids for ids in prompts()]


def test_it_says_that_it_is_arm64_and_how(arm64_phone: RunningPhone) -> None:
    device = tcp_device("127.0.0.1", arm64_phone.port)
    assert device_abi(device) == "aarch64"
    assert device.shell(["getprop", "ro.product.cpu.abi"]).text == "arm64-v8a\n"
    assert " aarch64 " in device.shell(["uname", "-a"]).text
    known = conditions(device)
    assert known["abi"] == "aarch64"
    assert any("qemu's cortex-a76" in line for line in known["emulated"]["not_imitated"])


def test_without_a_runner_push_names_the_command_that_builds_it(
    arm64_phone: RunningPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "CHECKOUT", tmp_path)
    with pytest.raises(DeviceError, match="flashneuron runtime build --target arm64-portable"):
        push_runner(tcp_device("127.0.0.1", arm64_phone.port), SilentProgress())


@pytest.mark.parametrize("predictor", ["none", "lowrank"])
def test_greedy_tokens_equal_those_of_x86(
    arm64_phone: RunningPhone, phone: RunningPhone, sample_fp32: Package, predictor: str
) -> None:
    settings = RunSettings(**GREEDY, predictor=predictor)
    assert tokens_on(arm64_phone.device, sample_fp32, settings) == tokens_on(phone.device, sample_fp32, settings)


def test_likelihoods_are_those_of_x86_but_for_rounding(
    arm64_phone: RunningPhone, phone: RunningPhone, sample_fp32: Package
) -> None:
    """XNNPACK's kernels of the two processors add in different orders; our own do not."""
    found = []
    for device in (arm64_phone.device, phone.device):
        with open_session(sample_fp32, device, SilentProgress()) as session:
            found.append(session.score(RunSettings(kv="fp32", predictor="none"), prompts(), lambda tokens: None).nll)
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_the_command_line_pushes_and_runs(arm64_phone: RunningPhone, sample_fp32: Package) -> None:
    def call(*words: str) -> str:
        outcome = CliRunner().invoke(cli, [*words, "--device", arm64_phone.device], catch_exceptions=False)
        assert outcome.exit_code == 0, outcome.output
        return outcome.stdout

    call("push", str(sample_fp32.folder))
    said = json.loads(
        call("run", str(sample_fp32.folder), "-p", PROMPTS[0], "--max-new-tokens", "8", "--format", "json")
    )
    assert len(said["token_ids"]) == 8
    assert said["conditions"]["abi"] == "aarch64"


@pytest.mark.parametrize("page", PAGES)
def test_the_portable_runner_needs_no_system_around_it_and_any_page(
    sample_fp32: Package, phone: RunningPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """In a folder of this machine, by qemu without a root of arm64's: whatever it opens is its own."""
    portable = runtime.find_runtime("aarch64") / "lib"
    start = tmp_path / "runtime" / runtime.RUNNER
    start.parent.mkdir()
    loader = f"{portable}/ld-linux-aarch64.so.1 --library-path {portable} {portable}/{runtime.RUNNER}"
    start.write_text(f'#!/bin/sh\nexec qemu-aarch64-static -cpu max -p {page} {loader} "$@"\n')
    start.chmod(0o755)
    monkeypatch.setenv("FLASHNEURON_RUNTIME", str(start.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # a host device of its own
    settings = RunSettings(**GREEDY, predictor="lowrank")
    found = tokens_on("host", sample_fp32, settings)
    monkeypatch.undo()
    assert found == tokens_on(phone.device, sample_fp32, settings)
