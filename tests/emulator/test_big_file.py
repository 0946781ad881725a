"""A file beyond 4 GiB, whose size adb's older requests give modulo 2^32."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from flashneuron.device.adb import AdbDevice, tcp_device
from flashneuron.device.phones import RunningPhone, emulator_folder
from flashneuron.device.protocol import PHONE_ROOT
from flashneuron.device.sync import hashes_of, push_runner
from flashneuron.progress import SilentProgress

SIZE = (5 << 30) + 12345


def test_five_gib_travel_and_verify(phone: RunningPhone, tmp_path: Path) -> None:
    free = min(shutil.disk_usage(folder).free for folder in (tmp_path, emulator_folder()))
    if free < 3 * SIZE:
        pytest.skip(f"{3 * SIZE >> 30} GiB of free disk are needed, {free >> 30} GiB are there")
    source = tmp_path / "big"
    with source.open("wb") as out:  # sparse but for its ends: what is read and sent is not
        out.write(b"begin")
        out.seek(SIZE - 3)
        out.write(b"end")
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    device: AdbDevice = tcp_device("127.0.0.1", phone.port, PHONE_ROOT.with_name("big"))
    runner = push_runner(device, SilentProgress())
    sent: list[float] = []
    remote = device.root / "tmp" / "big"
    try:
        device.push(source, remote, sent.append)
        assert sum(sent) == SIZE
        assert device.shell(["stat", "-c", "%s", str(remote)]).text.strip() == str(SIZE)
        assert hashes_of(runner, [remote])[remote] == digest.hexdigest()
    finally:
        device.shell(["rm", "-rf", str(device.root)], timeout_s=300)
