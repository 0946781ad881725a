"""What --device says, and which emulated phones count as running."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from flashneuron.device.discover import open_device
from flashneuron.device.phones import RunningPhone, process_start_ticks, record_phone, running_phones
from flashneuron.errors import DeviceError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def make_phone(name: str, pid: int = os.getpid(), ticks: int | None = None) -> RunningPhone:
    started = process_start_ticks(os.getpid()) if ticks is None else ticks
    assert started is not None
    phone = RunningPhone(name, "entry-4gb", 5038, pid, started)
    record_phone(phone)
    return phone


def test_host_is_a_folder_in_the_cache(cache: Path) -> None:
    assert str(open_device("host").root) == str(cache / "flashneuron" / "host-device")


def test_no_device_says_how_to_get_one() -> None:
    with pytest.raises(DeviceError, match="no emulated phone runs; start one with 'flashneuron emulator start'"):
        open_device(None)


def test_several_phones_are_listed() -> None:
    make_phone("a")
    make_phone("b")
    with pytest.raises(DeviceError, match=r"127\.0\.0\.1:5038 \(a\), 127\.0\.0\.1:5038 \(b\)"):
        open_device(None)


def test_phones_that_are_gone_are_forgotten(cache: Path) -> None:
    alive = make_phone("alive")
    make_phone("pid-taken-over", ticks=1)
    make_phone("gone", pid=(1 << 22) + 1)
    running = cache / "flashneuron" / "emulator" / "running"
    (running / "broken.json").write_text("{")
    (running / "other.json").write_text(json.dumps({"name": "x"}))
    assert running_phones() == [alive]
    assert [path.name for path in running.iterdir()] == ["alive.json"]


@pytest.mark.parametrize("spec", ["", "phone", "host:0", "host:99999", "a b:1", ":5038", "$(id):5038"])
def test_what_is_no_device_is_refused(spec: str) -> None:
    with pytest.raises(DeviceError, match="is not a device; start one with"):
        open_device(spec)


def test_usb_is_refused_with_the_way_round() -> None:
    with pytest.raises(DeviceError, match="USB is not supported; run 'adb tcpip 5555'"):
        open_device("usb:ABC")


def test_a_port_where_nobody_answers_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DeviceError, match=rf"no device answers at 127\.0\.0\.1:{port} \(Connection refused\)"):
        open_device(f"127.0.0.1:{port}")
