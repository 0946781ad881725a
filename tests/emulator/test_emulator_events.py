"""What befalls a phone: it shows on the phone, it bites, and every number says so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from click.testing import CliRunner

from flashneuron.cli.main import cli
from flashneuron.device.adb import AdbDevice, tcp_device
from flashneuron.device.info import conditions
from flashneuron.device.phones import RunningPhone
from flashneuron.device.sync import push_package, push_runner
from flashneuron.emulator import events
from flashneuron.emulator.cgroup import groups_of
from flashneuron.emulator.phone import start_phone, stop_phone
from flashneuron.emulator.profiles import load_profile, profile_names
from flashneuron.errors import DeviceError, InputError
from flashneuron.profile.cool_down import CoolingDown, Heat
from flashneuron.progress import SilentProgress
from flashneuron.report.summary import where

PACKAGE = Path(__file__).parents[1] / "data" / "tiny_package"
PLACE = PurePosixPath("/data/local/tmp/kept")


@pytest.fixture(scope="module")
def struck() -> Iterator[RunningPhone]:
    """A phone of its own: what befalls it must not befall other tests'."""
    started = start_phone("ufs-3.1", SilentProgress(), name=f"test-struck-{os.getpid()}")
    yield started
    stop_phone(started.name, wipe=True)


@pytest.fixture
def device(struck: RunningPhone) -> AdbDevice:
    return tcp_device("127.0.0.1", struck.port)


def invoke(phone: RunningPhone, *words: str) -> str:
    done = CliRunner().invoke(cli, ["emulator", "event", *words, "--phone", phone.name], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_heat_shows_slows_and_is_told(struck: RunningPhone, device: AdbDevice) -> None:
    said = invoke(struck, "thermal", "severe")
    facts = conditions(device)
    assert facts["thermal"]["status"] == "severe"
    assert "thermal severe" in where(facts, "x")
    quotas = [(folder / "cpu.cfs_quota_us") for folder in groups_of(struck.pid, struck.name)]
    written = [int(path.read_text()) for path in quotas if path.exists()]
    if "not enforced" in said:
        pytest.fail(f"this machine cannot slow a phone down: {said}")
    assert written == [50_000 * len(os.sched_getaffinity(struck.pid))]
    invoke(struck, "thermal", "none")
    assert conditions(device)["emulated"]["events"] == {}
    assert [int(path.read_text()) for path in quotas if path.exists()] == [-1]


def test_heat_is_waited_for_until_the_phone_tells_that_it_is_gone(struck: RunningPhone, device: AdbDevice) -> None:
    start, passed = Heat.of(conditions(device)), 0.0

    def sleep(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        if passed >= 20:
            invoke(struck, "thermal", "none")

    invoke(struck, "thermal", "moderate")
    cooling = CoolingDown(300, lambda: passed, sleep)
    cooled, now = cooling.wait(start, lambda: conditions(device), SilentProgress())
    assert (cooled.state, cooled.waited_s, now["thermal"]["status"]) == ("cool", 20, "none")
    assert now["thermal"]["temperatures_c"]
    assert now["uptime_s"]
    assert now["load_average"]


def test_battery_and_memory(struck: RunningPhone, device: AdbDevice) -> None:
    invoke(struck, "battery", "7")
    invoke(struck, "memory", "1G")
    facts = conditions(device)
    assert facts["battery"]["level_percent"] == 7
    assert facts["ram_available_bytes"] == 1 << 30
    assert facts["emulated"]["events"].keys() == {"battery", "memory"}
    caps = [folder / "memory.limit_in_bytes" for folder in groups_of(struck.pid, struck.name)]
    assert [int(path.read_text()) for path in caps if path.exists()] == [1 << 30]
    invoke(struck, "battery", "100")
    invoke(struck, "memory", "normal")
    assert conditions(device)["ram_available_bytes"] == load_profile("ufs-3.1").available_ram_bytes


def test_storage_that_takes_no_writes_is_told_in_its_words(
    struck: RunningPhone, device: AdbDevice, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(b"x")
    invoke(struck, "storage", "read-only")
    with pytest.raises(DeviceError, match=r"cannot write .*Read-only file system"):
        device.push(tmp_path / "x", PLACE)
    invoke(struck, "storage", "normal")
    device.push(tmp_path / "x", PLACE)


def test_storage_that_fills_up_in_mid_push_leaves_nothing_half_made(
    struck: RunningPhone, device: AdbDevice, runtime: Path
) -> None:
    runner = push_runner(device, SilentProgress(), lambda abi: runtime)
    invoke(struck, "storage", "full")
    assert conditions(device)["emulated"]["events"] == {"storage": "full"}
    with pytest.raises(DeviceError, match="No space left on device"):
        push_package(device, PACKAGE, SilentProgress(), runner)
    assert device.shell(["sh", "-c", f"ls {device.root}/packages {device.root}/objects"]).text.split()[-1].endswith(":")
    invoke(struck, "storage", "normal")
    assert push_package(device, PACKAGE, SilentProgress(), runner).sent_files > 0


def test_commands_that_are_denied_leave_conditions_unknown(struck: RunningPhone, device: AdbDevice) -> None:
    invoke(struck, "denied", "dumpsys", "getprop")
    refused = device.shell(["dumpsys", "battery"])
    assert (refused.exit_code, refused.stderr) == (126, b"/system/bin/sh: dumpsys: can't execute: Permission denied\n")
    facts = conditions(device)
    assert (facts["battery"], facts["thermal"], facts["model"]) == (None, None, None)
    assert facts["ram_total_bytes"]
    invoke(struck, "denied")
    assert conditions(device)["battery"]
    with pytest.raises(InputError, match="reboot cannot be denied; there are: am, cmd"):
        events.deny(struck, ["reboot"])


def eventually(ask: Callable[[], object]) -> None:
    for _ in range(100):
        try:
            ask()
            return
        except DeviceError as error:
            last = error
            os.sched_yield()
    raise last


def test_a_restart_ends_what_runs_and_keeps_the_flash(struck: RunningPhone, device: AdbDevice) -> None:
    device.write(b"still here", PLACE)
    with device.stream(["sh", "-c", "echo on; sleep 600"]) as running:
        lines = iter(running)
        assert next(lines) == b"on"
        invoke(struck, "reboot")
        with pytest.raises(DeviceError):
            next(lines)
    eventually(lambda: device.shell(["true"]))
    assert device.shell(["cat", str(PLACE)]).stdout == b"still here"
    assert b"sleep 600" not in device.shell(["ps", "-A", "-o", "ARGS"]).stdout


def test_a_start_tells_the_curve_and_the_cores(struck: RunningPhone) -> None:
    assert {"ufs-3.1", "ufs-4.0"} <= set(profile_names())
    (cores,) = [limit for limit in struck.limits if limit["name"] == "cores"]
    assert cores["enforced"] == (len(os.sched_getaffinity(0)) >= 8)
    assert cores["note"]


def test_a_phone_listens_on_this_machine_alone(struck: RunningPhone) -> None:
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert {each for each in listening if each.endswith(f":{struck.port:04X}")} >= {f"0100007F:{struck.port:04X}"}
    assert f"00000000:{struck.port:04X}" not in listening
