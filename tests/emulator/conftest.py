"""One emulated phone for all tests here. Where none can be emulated, every one of them fails and says why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from flashneuron.device.adb import AdbDevice, tcp_device
from flashneuron.device.host import HostDevice
from flashneuron.device.phones import RunningPhone
from flashneuron.device.protocol import PHONE_ROOT, Device
from flashneuron.device.runner import Runner
from flashneuron.device.sync import push_runner
from flashneuron.emulator.phone import start_phone, stop_phone
from flashneuron.emulator.profiles import DEFAULT_PROFILE
from flashneuron.export.pipeline import export_model
from flashneuron.export.recipe import ExportRecipe
from flashneuron.package.manifest import Package
from flashneuron.profile.session import Session, open_session
from flashneuron.progress import SilentProgress

# Of test_peers.py: client, daemon, and by operation whether it works.
PEERS: list[tuple[str, str, dict[str, bool]]] = []
# Of test_faults.py: what happened to a push, and how it ended.
FAULTS: Counter[tuple[str, str]] = Counter()
SAMPLE = Path(__file__).parents[2] / "models" / "sample"
HASHING_RUNNER = """#!/bin/sh
say() { set -- "$1" $(sha256sum "$1"); echo "{\\"event\\": \\"hash\\", \\"path\\": \\"$1\\", \\"sha256\\": \\"$2\\"}"; }
case $1 in
  hash) while read -r path; do say "$path"; done ;;
  hash-arriving)
    while read -r bytes path; do
      until [ "$(stat -c %s "$path" 2> /dev/null)" = "$bytes" ]; do echo '{"event": "waiting"}'; sleep 0.02; done
      say "$path"
    done ;;
  *) exit 9 ;;
esac
"""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if PEERS:
        operations = list(PEERS[0][2])
        terminalreporter.section("adb peers")
        terminalreporter.line(f"{'client':24}{'adbd':20}" + "".join(f"{each:>10}" for each in operations))
        for client, daemon, found in PEERS:
            shown = "".join(f"{'ok' if found[each] else 'FAILED':>10}" for each in operations)
            terminalreporter.line(f"{client:24}{daemon:20}{shown}")
    if FAULTS:
        terminalreporter.section("pushes over a faulty link, each of which the next push completed")
        for (kind, said), count in sorted(FAULTS.items()):
            terminalreporter.line(f"{kind:14}{said:22}{count:>6}")


@pytest.fixture(scope="session")
def phone() -> Iterator[RunningPhone]:
    """A phone of the default profile; `phone.device` is what `--device` takes. Its flash is erased at the end."""
    started = start_phone(DEFAULT_PROFILE, SilentProgress(), name=f"test-{os.getpid()}")
    yield started
    stop_phone(started.name, wipe=True)


@pytest.fixture
def device(phone: RunningPhone) -> AdbDevice:
    return tcp_device("127.0.0.1", phone.port)


@pytest.fixture(scope="session")
def sample_fp32(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The sample model, everything in fp32, both layouts, with predictors: what can be compared with Hugging Face."""
    recipe = ExportRecipe(dtype="fp32", attention="fp32", layouts=("bundled", "split"))
    return export_model(SAMPLE, tmp_path_factory.mktemp("sample") / "sample.fnpkg", recipe, SilentProgress())


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A runtime whose runner knows hashing alone, as a script, so that these tests need no compiler."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    (folder / "flashneuron-runner").write_text(HASHING_RUNNER)
    (folder / "libsomething.so").write_bytes(b"a library")
    return folder


@pytest.fixture(params=["host", "phone"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Device:
    """A device with an empty root."""
    if request.param == "host":
        return HostDevice(tmp_path / "host device")
    phone: RunningPhone = request.getfixturevalue("phone")
    device = tcp_device("127.0.0.1", phone.port, PHONE_ROOT.with_name("it's a root"))
    device.shell(["rm", "-rf", str(device.root)])
    return device


@pytest.fixture
def runner(target: Device, runtime: Path) -> Runner:
    return push_runner(target, SilentProgress(), lambda abi: runtime)


@pytest.fixture(scope="module")
def session(phone: RunningPhone, sample_fp32: Package) -> Iterator[Session]:
    """The sample package, pushed to the phone."""
    with open_session(sample_fp32, phone.device, SilentProgress()) as opened:
        yield opened
