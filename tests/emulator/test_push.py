"""Pushing a package: the same store on a phone and on the host; interrupted or refused, nothing half-made shows."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from conftest import HASHING_RUNNER

from flashneuron.device.adb import AdbDevice, tcp_device
from flashneuron.device.phones import RunningPhone
from flashneuron.device.protocol import Device
from flashneuron.device.runner import Runner
from flashneuron.device.store_lock import locked
from flashneuron.device.sync import push_package, push_runner
from flashneuron.device.tcp_link import TcpLink
from flashneuron.device.transport import RepairedTcpTransport
from flashneuron.device.wire import Wire
from flashneuron.emulator.rootfs import phone_root
from flashneuron.errors import DeviceError, PackageError, RunnerError
from flashneuron.progress import Advance, SilentProgress

PACKAGE = Path(__file__).parents[1] / "data" / "tiny_package"


class Watch(SilentProgress):
    """Calls `seen` at every advance of the push."""

    def __init__(self, seen: Callable[[], None]) -> None:
        self._seen = seen

    @contextmanager
    def step(self, title: str, total: float, unit: str = "") -> Iterator[Advance]:
        yield lambda done: self._seen()


def names(device: Device, folder: str) -> set[str]:
    return set(device.shell(["ls", "-A", str(device.root / folder)]).text.split())


def test_a_package_arrives_whole_and_travels_once(target: Device, runner: Runner) -> None:
    first = push_package(target, PACKAGE, SilentProgress(), runner)
    again = push_package(target, PACKAGE, SilentProgress(), runner)
    assert (first.sent_files, again.sent_files) == (first.total_files, 0)
    assert first.total_files > 3
    assert first.folder == target.root / "packages" / first.manifest_sha256
    manifest = target.shell(["cat", str(first.folder / "manifest.json")]).stdout
    assert manifest == (PACKAGE / "manifest.json").read_bytes()
    assert len(names(target, "objects")) == first.total_files
    assert names(target, "tmp") == set()


def test_the_runner_travels_once_and_can_run(target: Device, runner: Runner, runtime: Path) -> None:
    assert push_runner(target, SilentProgress(), lambda abi: runtime).folder == runner.folder
    (runtime / "libsomething.so").write_bytes(b"another library")
    assert push_runner(target, SilentProgress(), lambda abi: runtime).folder != runner.folder
    assert len(names(target, "runtime")) == 2


def test_the_real_runner_takes_a_package_on_the_phone(device: AdbDevice) -> None:
    real = push_runner(device, SilentProgress())
    assert [event["event"] for event in real.events("version", {})] == ["version"]
    pushed = push_package(device, PACKAGE, SilentProgress(), real)
    assert device.shell(["test", "-f", str(pushed.folder / "manifest.json")]).exit_code == 0
    with pytest.raises(RunnerError) as caught:
        list(real.events("hash", {"path": "/no/such/file"}))
    assert caught.value.code == "not_found"


def test_an_interrupted_push_shows_no_package_and_resumes(target: Device, runner: Runner) -> None:
    seen: list[None] = []

    def interrupt() -> None:
        seen.append(None)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push_package(target, PACKAGE, Watch(interrupt), runner)
    assert names(target, "packages") == set()
    whole = len(names(target, "objects"))
    assert names(target, "tmp") == set()
    resumed = push_package(target, PACKAGE, SilentProgress(), runner)
    assert resumed.sent_files == resumed.total_files - whole


def test_an_object_of_the_wrong_size_is_sent_again(target: Device, runner: Runner) -> None:
    pushed = push_package(target, PACKAGE, SilentProgress(), runner)
    target.write(b"short", pushed.store / next(iter(names(target, "objects"))))
    assert push_package(target, PACKAGE, SilentProgress(), runner).sent_files == 1


def hashed(target: Device, runner: Runner) -> set[str]:
    """Names of the files that pushing the package once more hashes on the device."""
    seen = set[str]()

    class Watched(Runner):
        def events(self, verb: str, keys: Mapping[str, str], stdin: bytes = b"") -> Iterator[dict[str, Any]]:
            seen.update(PurePosixPath(line).name for line in stdin.decode().splitlines())
            return runner.events(verb, keys, stdin)

    push_package(target, PACKAGE, SilentProgress(), Watched(target, runner.folder))
    return seen


def test_only_what_changed_since_it_was_verified_is_hashed_again(target: Device, runner: Runner) -> None:
    pushed = push_package(target, PACKAGE, SilentProgress(), runner)
    assert hashed(target, runner) == set()
    first, second, *_ = sorted(names(target, "objects"))
    target.shell(["touch", str(pushed.store / first)])
    assert hashed(target, runner) == {first}
    assert hashed(target, runner) == set()
    content = target.shell(["cat", str(pushed.store / second)]).stdout
    target.write(bytes(len(content)), pushed.store / second)  # as large as before, and damaged
    assert push_package(target, PACKAGE, SilentProgress(), runner).sent_files == 1
    assert target.shell(["cat", str(pushed.store / second)]).stdout == content
    target.shell(["rm", str(target.root / "verified")])
    assert hashed(target, runner) == names(target, "objects")


def test_two_hosts_do_not_push_at_the_same_time(target: Device, runner: Runner) -> None:
    with locked(target):
        with pytest.raises(DeviceError, match=r"being pushed to or cleared by .*, since \d\d:\d\d:\d\d; wait for it"):
            push_package(target, PACKAGE, SilentProgress(), runner)
        assert names(target, "packages") == set()
    push_package(target, PACKAGE, SilentProgress(), runner)
    with locked(target):  # nothing to change: nobody is kept waiting
        assert push_package(target, PACKAGE, SilentProgress(), runner).sent_files == 0


def test_a_lock_ends_with_its_link(phone: RunningPhone, device: AdbDevice) -> None:
    links = []
    name = phone.device

    def connect() -> TcpLink:
        transport = RepairedTcpTransport("127.0.0.1", phone.port)
        links.append((transport, TcpLink(Wire(transport, name), name)))
        return links[-1][1]

    device.shell(["mkdir", "-p", str(device.root)])
    holder = locked(AdbDevice(name, connect))
    holder.__enter__()
    links[-1][0].cut()
    for _ in range(100):
        try:
            with locked(device):
                return
        except DeviceError:
            device.shell(["sleep", "0.1"])
    pytest.fail("still locked 10 s after its holder has gone")


def test_what_a_killed_push_left_is_cleared(target: Device, runner: Runner) -> None:
    target.write(b"half", target.root / "tmp" / "x.part")
    target.write(b"1 2", target.root / "tmp" / "y.stdin")
    push_package(target, PACKAGE, SilentProgress(), runner)
    assert names(target, "tmp") == {"y.stdin"}


def test_a_file_that_is_not_what_its_manifest_says_is_told_from_a_damaged_transfer(
    target: Device, runner: Runner, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(PACKAGE, copy)
    path = next((copy / "ffn").iterdir())
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(DeviceError, match=f"{path.name} is not what its manifest says"):
        push_package(target, copy, SilentProgress(), runner)
    assert names(target, "packages") == set()


def test_a_link_out_of_the_package_is_refused(target: Device, runner: Runner, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(PACKAGE, copy)
    path = next((copy / "ffn").iterdir())
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(PackageError, match=f"{path.name} is a link that leads out of the package"):
        push_package(target, copy, SilentProgress(), runner)


def test_a_file_damaged_on_its_way_never_gets_its_name(target: Device, runtime: Path) -> None:
    (runtime / "flashneuron-runner").write_text(HASHING_RUNNER.replace("$2", "f$2"))
    with pytest.raises(DeviceError, match="damaged; push again"):
        push_runner(target, SilentProgress(), lambda abi: runtime)
    assert names(target, "runtime") == set()


def test_a_full_disk_in_mid_push_is_told_and_nothing_half_made_stays(
    phone: RunningPhone, device: AdbDevice, runtime: Path
) -> None:
    folder = PurePosixPath("/data/local/tmp/small")
    device.shell(["mkdir", "-p", str(folder)])
    in_phone(phone, "mount", "-t", "tmpfs", "-o", "size=40m,uid=2000", "tmpfs", folder)
    small = tcp_device("127.0.0.1", phone.port, folder)
    runner = push_runner(small, SilentProgress(), lambda abi: runtime)

    def fill() -> None:
        small.shell(["sh", "-c", f"cat /dev/zero > {folder}/fill"])

    with pytest.raises(DeviceError, match="No space left on device"):
        push_package(small, PACKAGE, Watch(fill), runner)
    assert names(small, "packages") == set()
    assert names(small, "tmp") == set()
    with pytest.raises(DeviceError, match=r"of storage free, .* are needed; free some there|No space left"):
        push_package(small, PACKAGE, SilentProgress(), runner)
    small.shell(["rm", f"{folder}/fill"])
    pushed = push_package(small, PACKAGE, SilentProgress(), runner)
    assert 0 < pushed.sent_files <= pushed.total_files


def in_phone(phone: RunningPhone, *command: object) -> None:
    """Run as root in the phone's mount namespace; the last word is a path of the phone."""
    *words, path = map(str, command)
    unshare = Path(f"/proc/{phone.pid}/task/{phone.pid}/children").read_text().split()[0]
    init = Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()[0]
    inside = phone_root(SilentProgress()) / path.lstrip("/")
    subprocess.run(["nsenter", "--target", init, "--mount", *words, str(inside)], check=True)
