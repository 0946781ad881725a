"""What --device says, and which emulated phones count as running."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from flashneuron.device.adb_server import ListedDevice
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
        open_device(None, list)


def test_several_phones_are_listed() -> None:
    make_phone("a")
    make_phone("b")
    with pytest.raises(
        DeviceError, match=r"127\.0\.0\.1:5038 \(emulated phone a\), 127\.0\.0\.1:5038 \(emulated phone b\)"
    ):
        open_device(None, list)


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
        open_device(spec, list)


def test_usb_without_libusb_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usb1", None)
    monkeypatch.delitem(sys.modules, "adb_shell.transport.usb_transport", raising=False)
    with pytest.raises(DeviceError, match=r"pip install 'flashneuron\[usb\]'"):
        open_device("usb:ABC")


def test_the_servers_devices_count_too() -> None:
    phone, ready = make_phone("a"), ListedDevice("ABC", "device", "Pixel 8")
    with pytest.raises(DeviceError, match=r"several devices; .*: 127\.0\.0\.1:5038 .*, ABC \(Pixel 8\)"):
        open_device(None, lambda: [ready])
    Path(os.environ["XDG_CACHE_HOME"], "flashneuron/emulator/running", f"{phone.name}.json").unlink()
    locked, away = ListedDevice("XYZ", "unauthorized"), ListedDevice("AWAY", "offline")
    with pytest.raises(DeviceError, match=r"no emulated phone runs; the adb server has XYZ \(unauthorized\), AWAY"):
        open_device(None, lambda: [locked, away])
    with pytest.raises(DeviceError, match=r"XYZ \(unauthorized\); allow this computer on its screen"):
        open_device(None, lambda: [locked])
    with pytest.raises(DeviceError, match=r"XYZ \(unauthorized\); allow this computer on its screen"):
        open_device("XYZ", lambda: [locked])
    with pytest.raises(DeviceError, match=r"'Q' is not a device; the adb server has XYZ"):
        open_device("Q", lambda: [locked])


def test_a_phone_that_the_server_holds_too_is_one_device() -> None:
    phone = make_phone("a")
    with pytest.raises(DeviceError, match=r"several devices; choose one by --device: 127\.0\.0\.1:5038 [^,]*, ABC$"):
        open_device(None, lambda: [ListedDevice(phone.device, "device"), ListedDevice("ABC", "device")])


def test_a_port_where_nobody_answers_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DeviceError, match=rf"no device answers at 127\.0\.0\.1:{port} \(Connection refused\)"):
        open_device(f"127.0.0.1:{port}")
