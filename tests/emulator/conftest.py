"""One emulated phone for all tests here. Where none can be emulated, every one of them fails and says why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flashneuron.device.adb import AdbDevice
from flashneuron.device.phones import RunningPhone
from flashneuron.emulator.phone import start_phone, stop_phone
from flashneuron.emulator.profiles import DEFAULT_PROFILE
from flashneuron.export.pipeline import export_model
from flashneuron.export.recipe import ExportRecipe
from flashneuron.package.manifest import Package
from flashneuron.progress import SilentProgress

SAMPLE = Path(__file__).parents[2] / "models" / "sample"


@pytest.fixture(scope="session")
def phone() -> Iterator[RunningPhone]:
    """A phone of the default profile; `phone.device` is what `--device` takes. Its flash is erased at the end."""
    started = start_phone(DEFAULT_PROFILE, SilentProgress(), name=f"test-{os.getpid()}")
    yield started
    stop_phone(started.name, wipe=True)


@pytest.fixture
def device(phone: RunningPhone) -> AdbDevice:
    return AdbDevice("127.0.0.1", phone.port)


@pytest.fixture(scope="session")
def sample_fp32(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The sample model, everything in fp32, both layouts, with predictors: what can be compared with Hugging Face."""
    recipe = ExportRecipe(dtype="fp32", attention="fp32", layouts=("bundled", "split"))
    return export_model(SAMPLE, tmp_path_factory.mktemp("sample") / "sample.fnpkg", recipe, SilentProgress())
