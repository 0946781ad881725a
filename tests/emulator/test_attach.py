"""A run on the phone and its link: cut in the middle, its host killed, stopped by a person."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from flashneuron.device import detached
from flashneuron.device.adb import AdbDevice, tcp_device
from flashneuron.device.packages import read_store, remove_package
from flashneuron.device.phones import RunningPhone
from flashneuron.emulator.faults_proxy import FaultsProxy
from flashneuron.errors import DeviceError, InputError, LinkLost
from flashneuron.package.manifest import Package
from flashneuron.profile.attach import Attached, choose_run
from flashneuron.profile.session import open_session
from flashneuron.profile.settings import RunSettings
from flashneuron.progress import SilentProgress

PROMPT = [2, 10, 20, 30]
FLASHNEURON = [sys.executable, "-c", "from flashneuron.cli.main import main; main()"]
LONG = RunSettings(max_new_tokens=400, ignore_eos=True, kv="fp32")


@pytest.fixture(autouse=True)
def no_run_stays(device: AdbDevice) -> Iterator[None]:
    yield
    for run in detached.list_runs(device):
        detached.stop(device, run.name)
        detached.remove(device, run.name)


def expected_ids(package: Package, phone: RunningPhone) -> list[int]:
    with open_session(package, phone.device, SilentProgress()) as session:
        return session.generate(LONG, PROMPT).result.token_ids


def test_a_run_survives_its_link(sample_fp32: Package, phone: RunningPhone) -> None:
    expected = expected_ids(sample_fp32, phone)
    with (
        FaultsProxy(phone.port).running() as proxy,
        open_session(sample_fp32, f"127.0.0.1:{proxy.port}", SilentProgress()) as session,
    ):
        seen: list[int] = []
        cuts: list[int] = []

        def on_token(token: object) -> None:
            seen.append(1)
            if len(seen) in (5, 200):
                cuts.append(len(seen))
                proxy.cut()

        made = session.generate(LONG, PROMPT, on_token)
    assert made.result.token_ids == expected
    assert [token.id for token in made.tokens] == expected
    assert cuts == [5, 200]


def test_what_follows_a_run_ends_with_its_link(phone: RunningPhone, device: AdbDevice) -> None:
    silent = ["sh", "-c", 'echo "{}"; exec sleep 600']
    name = detached.start(device, silent, b"", {"verb": "generate", "started": "now"})
    with FaultsProxy(phone.port).running() as proxy:
        lines = detached.follow(tcp_device("127.0.0.1", proxy.port), name, 0)
        assert next(lines) == b"{}"
        proxy.cut()
        with pytest.raises(LinkLost):
            next(lines)
    detached.stop(device, name)
    processes = (device.shell(["ps", "-A", "-o", "ARGS"]).stdout for _ in range(100))
    assert any(b"tail -c" not in each for each in processes)


def begin(package: Package, phone: RunningPhone, *more: str) -> subprocess.Popen[bytes]:
    """`flashneuron run` as a process of its own, after it has printed something. Every token reads the whole model, so
    that it goes on for a while.
    """
    words = ["run", str(package.folder), "-p", "In the beginning", "--device", phone.device, "--residency", "naive"]
    words += ["--ignore-eos", "--max-new-tokens", "500", *more]
    process = subprocess.Popen(
        [*FLASHNEURON, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.read(1)
    return process


def attach(phone: RunningPhone, *more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*FLASHNEURON, "attach", "--device", phone.device, *more], capture_output=True, timeout=120)


def test_a_killed_host_is_followed_by_attach(sample_fp32: Package, phone: RunningPhone, device: AdbDevice) -> None:
    process = begin(sample_fp32, phone, "--max-new-tokens", "40")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    listed = json.loads(attach(phone, "--list", "--format", "json").stdout)
    assert [run["request"]["verb"] for run in listed["runs"]] == ["generate"]
    found = json.loads(attach(phone, "--format", "json").stdout)
    assert len(found["token_ids"]) == 40
    assert found["text"]
    assert detached.list_runs(device) == []
    nothing = attach(phone)
    assert nothing.returncode == 2
    assert b"has no runs to attach to" in nothing.stderr


def test_control_c_ends_the_run_on_the_device(sample_fp32: Package, phone: RunningPhone, device: AdbDevice) -> None:
    process = begin(sample_fp32, phone)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert detached.list_runs(device) == []
    assert b"flashneuron-runner" not in device.shell(["ps", "-A", "-o", "ARGS"]).stdout


def test_while_one_runs_others_are_told(sample_fp32: Package, phone: RunningPhone, device: AdbDevice) -> None:
    slow = replace(LONG, residency="naive")  # reads every weight for every token: still running when others ask
    with open_session(sample_fp32, phone.device, SilentProgress()) as session:
        events = session.runner.events(
            "generate",
            {**session.place, **slow.to_keys()},
            (" ".join(map(str, PROMPT)) + "\n").encode(),
        )
        with closing(events):  # type: ignore[type-var]
            next(events)
            with pytest.raises(DeviceError, match="busy with another run"):
                session.generate(RunSettings(max_new_tokens=1), PROMPT)
            store = read_store(device)
            with pytest.raises(DeviceError, match=r"is in use by run .*; wait for it, or end it"):
                remove_package(device, store.find(sample_fp32.manifest.name))
            run = choose_run(detached.list_runs(device), None, device.name)
            other = Path(__file__).parents[1] / "data" / "tiny_package"
            with pytest.raises(InputError, match="is not the package of run"):
                Attached.to(device, run, other)
