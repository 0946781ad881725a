"""Runs that a killed profile left on a device, and those that it did not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flashneuron.device import detached
from flashneuron.device.host import HostDevice
from flashneuron.profile.orphans import OWNER, end_orphans, is_orphan, owner


@pytest.fixture
def gone() -> dict[str, Any]:
    """A process of this machine that has ended."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        found = owner(process.pid)
    assert found
    return found


def test_a_process_is_known_by_more_than_its_number(gone: dict[str, Any]) -> None:
    assert owner() == owner(os.getpid()) != gone
    assert is_orphan({OWNER: gone})
    assert is_orphan({OWNER: {**gone, "pid": os.getpid()}}), "the number is another's now"


def test_what_may_be_anothers_is_left_alone(gone: dict[str, Any]) -> None:
    requests: list[Any] = [
        None, {}, {OWNER: None}, {OWNER: owner()}, {OWNER: {**gone, "host": "other"}}, {OWNER: {**gone, "pid": "1"}},
        {OWNER: {**gone, "numbers": "pid:[1]"}}, {OWNER: {**gone, "pid": 1 << 40}}, {"verb": "generate"},
    ]  # fmt: skip
    assert [is_orphan(request) for request in requests] == [False] * len(requests)


@pytest.mark.parametrize("is_left", [True, False])
def test_a_run_that_is_left_behind_ends_and_makes_room(tmp_path: Path, gone: dict[str, Any], is_left: bool) -> None:
    device = HostDevice(tmp_path)
    name = detached.start(device, ["tail", "-f", "/dev/null"], b"", {OWNER: gone if is_left else owner()})
    try:
        assert end_orphans(device) == ([name] if is_left else [])
        assert [run.is_running for run in detached.list_runs(device)] == ([] if is_left else [True])
        if is_left:
            name = detached.start(device, ["true"], b"", {})
    finally:
        detached.stop(device, name)
