"""One emulated phone for all tests here. Where none can be emulated, every one of them fails and says why."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from flashneuron.device.adb import AdbDevice
from flashneuron.device.phones import RunningPhone
from flashneuron.emulator.phone import start_phone, stop_phone
from flashneuron.emulator.profiles import DEFAULT_PROFILE
from flashneuron.progress import SilentProgress


@pytest.fixture(scope="session")
def phone() -> Iterator[RunningPhone]:
    """A phone of the default profile; `phone.device` is what `--device` takes. Its flash is erased at the end."""
    started = start_phone(DEFAULT_PROFILE, SilentProgress(), name=f"test-{os.getpid()}")
    yield started
    stop_phone(started.name, wipe=True)


@pytest.fixture
def device(phone: RunningPhone) -> AdbDevice:
    return AdbDevice("127.0.0.1", phone.port)
