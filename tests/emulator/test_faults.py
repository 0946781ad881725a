"""Pushes over a link on which something happens at a random place, and then over a sound one.

However it went wrong, a package that shows on the device is whole, and the next push makes it so. What the first push
says is one line. FLASHNEURON_FAULT_RUNS and FLASHNEURON_FAULT_SEED choose how many, and from which seed on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from conftest import FAULTS

from flashneuron.device.adb import AdbDevice, tcp_device
from flashneuron.device.phones import RunningPhone
from flashneuron.device.runner import Runner
from flashneuron.device.sync import push_package, push_runner
from flashneuron.device.wire import Timeouts
from flashneuron.emulator.faults import Direction, random_fault
from flashneuron.emulator.faults_proxy import FaultsProxy
from flashneuron.errors import FlashneuronError
from flashneuron.progress import SilentProgress

PACKAGE = Path(__file__).parents[1] / "data" / "tiny_package"
RUNS = int(os.environ.get("FLASHNEURON_FAULT_RUNS", "200"))
SEED = int(os.environ.get("FLASHNEURON_FAULT_SEED", "1"))
BATCHES = 10
# A stalled link is found out in so short a time that 200 of them can be waited for.
HURRIED = Timeouts(handshake=1.0, send=1.0, authorise=1.0, silence=0.4, longest=4.0)
ROOT = PurePosixPath("/data/local/tmp/faults")
WRONG = 'cd "$0/objects" && for f in *; do [ -e "$f" ] && echo "$f $(sha256sum < "$f")"; done; true'


@pytest.fixture(scope="module")
def sound(phone: RunningPhone) -> AdbDevice:
    return tcp_device("127.0.0.1", phone.port, ROOT)


@pytest.fixture
def runner(sound: AdbDevice, runtime: Path) -> Runner:
    sound.shell(["rm", "-rf", str(ROOT)])
    return push_runner(sound, SilentProgress(), lambda abi: runtime)


@pytest.fixture
def traffic(phone: RunningPhone, runner: Runner) -> Iterator[dict[Direction, int]]:
    """Bytes each way of a push to which nothing happens."""
    with FaultsProxy(phone.port).running() as proxy:
        push(proxy.port, runner)
        yield dict(proxy.carried)


def push(port: int, runner: Runner) -> None:
    device = tcp_device("127.0.0.1", port, ROOT, HURRIED)
    push_package(device, PACKAGE, SilentProgress(), Runner(device, runner.folder))


def shown_packages(device: AdbDevice) -> list[str]:
    return device.shell(["sh", "-c", f"ls -d {ROOT}/packages/*/manifest.json 2>/dev/null; true"]).text.split()


def check_what_shows(device: AdbDevice) -> None:
    """Every object has its name's contents, whether or not a package shows; a manifest is as it was sent."""
    for line in device.shell(["sh", "-c", WRONG, str(ROOT)]).text.splitlines():
        name, digest, *_ = line.split()
        assert name == digest, line
    for path in shown_packages(device):
        assert device.shell(["cat", path]).stdout == (PACKAGE / "manifest.json").read_bytes()
        count = device.shell(["sh", "-c", f"ls {ROOT}/objects | wc -l"]).text.strip()
        assert int(count) >= len({p.read_bytes() for p in PACKAGE.rglob("*") if p.is_file()}) - 1


@pytest.mark.timeout(900)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_what_shows_is_whole_and_the_next_push_completes_it(
    batch: int, phone: RunningPhone, sound: AdbDevice, runner: Runner, traffic: dict[Direction, int]
) -> None:
    for seed in range(SEED + batch, SEED + RUNS, BATCHES):
        names = [str(ROOT / name) for name in ("objects", "packages", "tmp", "verified", "lock", "lock.owner")]
        sound.shell(["rm", "-rf", *names])
        fault = random_fault(seed, traffic["to_device"], traffic["from_device"])
        with FaultsProxy(phone.port, [fault]).running() as proxy:
            message = failure_of(lambda port=proxy.port: push(port, runner))
            happened = proxy.happened == [fault]
        check_what_shows(sound)
        assert message or shown_packages(sound), (seed, fault)
        assert "\n" not in message, (seed, fault)
        FAULTS[fault.kind if happened else "none in time", "a clear error" if message else "pushed all the same"] += 1
        push_again(sound, runner, seed)
        check_what_shows(sound)
        assert len(shown_packages(sound)) == 1


def failure_of(push: Callable[[], object]) -> str:
    """The message of what went wrong; empty: nothing did."""
    try:
        push()
    except FlashneuronError as error:
        return str(error)
    return ""


def push_again(device: AdbDevice, runner: Runner, seed: int) -> None:
    """The lock of a push whose link was cut is free within a second or two."""
    for _ in range(50):
        message = failure_of(lambda: push_package(device, PACKAGE, SilentProgress(), runner))
        if not message:
            return
        assert "is being pushed to" in message, (seed, message)
        device.shell(["sleep", "0.1"])
    pytest.fail(f"seed {seed}: the store is still locked")


def test_the_faults_did_happen() -> None:
    happened = Counter[str]()
    for (kind, _), count in FAULTS.items():
        happened[kind] += count
    if sum(happened.values()) < 100:
        pytest.skip("too few pushes were run to say so")
    assert all(happened[kind] > 0 for kind in ("cut", "stall", "drop", "corrupt"))
