"""The emulated phone: limits that bite, ports, ends."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path, PurePosixPath

import pytest
from click.testing import CliRunner

from flashneuron.cli.main import cli
from flashneuron.device.adb import AdbDevice, tcp_device
from flashneuron.device.phones import RunningPhone, running_phones
from flashneuron.emulator.phone import start_phone, stop_phone
from flashneuron.emulator.profiles import DEFAULT_PROFILE, load_profile
from flashneuron.errors import DeviceError, InputError
from flashneuron.progress import SilentProgress

DD = PurePosixPath("/data/local/tmp/dd")
SMALL = {
    "available_ram_bytes": 64 << 20,
    "flash_read_bytes_per_s": 4_000_000,
    "flash_read_iops": 100,
}


@pytest.fixture(scope="module")
def small_phone() -> Iterator[RunningPhone]:
    """A phone with limits far below any machine's own."""
    profile = load_profile(DEFAULT_PROFILE).model_copy(update=SMALL)
    started = start_phone(profile, SilentProgress(), name=f"test-small-{os.getpid()}")
    yield started
    stop_phone(started.name, wipe=True)


def require_enforced(phone: RunningPhone, name: str) -> None:
    """Limits that this machine cannot enforce are told by the emulator; there is then nothing to measure."""
    state = next(limit for limit in phone.limits if limit["name"] == name)
    if not state["enforced"]:
        pytest.fail(f"{name} is not enforced on this machine: {state['note']}")


def with_dd(phone: RunningPhone) -> AdbDevice:
    """The phone with this machine's dd on it (Debian's toybox has none) and 8 MiB to read."""
    device = tcp_device("127.0.0.1", phone.port)
    device.push(Path(shutil.which("dd") or "/bin/dd"), DD)
    device.shell([str(DD), "if=/dev/urandom", "of=/data/local/tmp/data", "bs=1M", "count=8", "conv=fsync"])
    return device


def read_seconds(device: AdbDevice, block: int, count: int) -> float:
    """How long dd says that reading took, past the page cache."""
    reading = ["if=/data/local/tmp/data", "of=/dev/null", f"bs={block}", f"count={count}", "iflag=direct"]
    said = device.shell([str(DD), *reading]).stderr.decode()
    assert f"{count}+0 records in" in said, said
    return float(said.rpartition(" s,")[0].rpartition(" ")[2])


@pytest.mark.parametrize(
    ("limit", "block", "count"), [("flash_read_bandwidth", 1 << 20, 8), ("flash_read_iops", 4096, 200)]
)
def test_direct_reads_are_throttled(
    phone: RunningPhone, small_phone: RunningPhone, limit: str, block: int, count: int
) -> None:
    require_enforced(small_phone, limit)
    # By the limits 70 and 100 times as long; a busy machine may slow the fast one down a lot.
    assert read_seconds(with_dd(small_phone), block, count) > 4 * read_seconds(with_dd(phone), block, count)


def test_a_program_over_the_ram_cap_is_killed(small_phone: RunningPhone) -> None:
    require_enforced(small_phone, "ram")
    device = with_dd(small_phone)
    assert device.shell([str(DD), "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]).exit_code == 137
    assert device.shell([str(DD), "if=/dev/zero", "of=/dev/null", "bs=10M", "count=1"]).exit_code == 0


def test_a_phone_has_no_network_but_its_own(device: AdbDevice) -> None:
    interfaces = device.shell(["cat", "/proc/net/dev"]).text.splitlines()[2:]
    assert [line.partition(":")[0].strip() for line in interfaces] == ["lo"]


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DeviceError, match=rf"port {port} cannot be used \(Address already in use\)"):
            start_phone(DEFAULT_PROFILE, SilentProgress(), port=port, name="never-starts")
    assert "never-starts" not in {phone.name for phone in running_phones()}


@pytest.mark.parametrize("port", [5555, 5585, 80, 70000])
def test_ports_that_are_not_for_phones_are_refused(port: int) -> None:
    with pytest.raises(InputError, match="is not for phones"):
        start_phone(DEFAULT_PROFILE, SilentProgress(), port=port)


def test_names_that_are_taken_or_unfit_are_refused(phone: RunningPhone) -> None:
    with pytest.raises(InputError, match="runs already"):
        start_phone(DEFAULT_PROFILE, SilentProgress(), name=phone.name)
    with pytest.raises(InputError, match="cannot name"):
        start_phone(DEFAULT_PROFILE, SilentProgress(), name="../x")
    with pytest.raises(InputError, match=r"no device profile 'x'.*pixel-8"):
        start_phone("x", SilentProgress())


def test_a_phone_that_goes_away_ends_a_stream_at_once_and_leaves_nothing() -> None:
    phone = start_phone(DEFAULT_PROFILE, SilentProgress(), name=f"test-gone-{os.getpid()}")
    device = tcp_device("127.0.0.1", phone.port)
    with device.stream(["sh", "-c", "echo started; sleep 600"]) as running:
        lines = iter(running)
        assert next(lines) == b"started"
        stop_phone(phone.name, wipe=True)
        with pytest.raises(DeviceError, match=r"went away .*run the command again"):
            next(lines)
    assert phone.name not in {other.name for other in running_phones()}
    assert not list(Path("/sys/fs/cgroup").glob(f"**/flashneuron-{phone.pid}-*"))
    assert phone.name not in Path("/proc/mounts").read_text()
    with pytest.raises(DeviceError, match="no device answers"):
        device.shell(["true"])


def test_a_killed_supervisor_takes_its_phone_along_and_leaves_nothing_for_long() -> None:
    phone = start_phone(DEFAULT_PROFILE, SilentProgress(), name=f"test-killed-{os.getpid()}")
    device = tcp_device("127.0.0.1", phone.port)
    with device.stream(["sh", "-c", "echo started; sleep 600"]) as running:
        lines = iter(running)
        next(lines)
        os.kill(phone.pid, 9)
        with pytest.raises(DeviceError, match="went away"):
            next(lines)
    assert phone.name not in {other.name for other in running_phones()}
    # What it could not clean up itself goes with the next start.
    start_phone(DEFAULT_PROFILE, SilentProgress(), name=phone.name)
    stop_phone(phone.name, wipe=True)
    assert not list(Path("/sys/fs/cgroup").glob(f"**/flashneuron-{phone.pid}-*"))


def test_the_command_line_lists_the_phone_with_its_limits(phone: RunningPhone) -> None:
    listed = CliRunner().invoke(cli, ["emulator", "list"], catch_exceptions=False).stdout
    assert f"{phone.name}: profile {phone.profile}, at {phone.device}" in listed
    as_json = json.loads(CliRunner().invoke(cli, ["emulator", "list", "--format", "json"]).stdout)["phones"]
    assert {"device": phone.device, **asdict(phone)} in as_json
    for limit in phone.limits:
        assert f"{limit['name']} {limit['value']}: {'enforced' if limit['enforced'] else 'NOT enforced'}" in listed
