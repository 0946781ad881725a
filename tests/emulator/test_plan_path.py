"""probe → plan → push → profile → report on the emulated phone: what is predicted is what is measured, but for time,
which no test can hold a shared machine to.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flashneuron.cli.main import cli
from flashneuron.device.phones import RunningPhone
from flashneuron.errors import InputError
from flashneuron.package.manifest import Package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, sample_fp32: Package) -> Path:
    return sample_fp32.folder


def call(*arguments: str) -> str:
    result = CliRunner(catch_exceptions=False).invoke(cli, arguments, standalone_mode=False)
    assert result.exception is None
    return result.stdout


def test_from_probe_to_report(
    phone: RunningPhone, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    device = ("--device", phone.device)
    with pytest.raises(InputError, match=rf"was never probed; .*flashneuron probe --device {phone.device}"):
        call("plan", str(package), *device)
    call("probe", "--size", "32M", *device)
    budgets = [str(size) for size in _budgets(package, device)]
    asked = ("--ram", ",".join(budgets), "--window", "auto,2", "--overlap", "on,off", *device)
    plan = json.loads(call("plan", str(package), "--tokens", "192", "--format", "json", *asked))
    assert len(plan["predictions"]) == 2 * 2 * len(budgets)
    assert plan["recommended"] in plan["predictions"]
    assert plan["emulated"]["profile"]
    call("profile", str(package), "--repeat", "1", "--max-new-tokens", "64", "-o", str(tmp_path / "runs"), *asked)
    points = json.loads(call("report", str(tmp_path / "runs"), "--format", "json"))["points"]
    assert len(points) == len(plan["predictions"])
    for point in points:
        _agrees(point)
    call("report", str(tmp_path / "runs"), "-o", str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text()
    assert "median error" in page
    assert "Crosses, dashed: predicted" in page
    later = json.loads(call("plan", str(package), "--tokens", "192", "--format", "json", *asked))
    assert {each["basis"] for each in later["predictions"]} == {"runs of this package"}


def _budgets(package: Path, device: tuple[str, ...]) -> list[int]:
    """Half of the way to everything, and most of it."""
    budget = json.loads(call("plan", str(package), "--tokens", "192", "--format", "json", *device))["recommended"][
        "budget"
    ]
    low, high = budget["minimum_bytes"], budget["all_resident_bytes"]
    return [low + (high - low) // 2, low + (high - low) * 4 // 5]


def _agrees(point: dict[str, Any]) -> None:
    predicted = point["predicted"]
    assert predicted["basis"] == "runs of this package", "a short one that came first"
    assert predicted["wall_us"] > 0
    assert predicted["hit_rate"] == pytest.approx(point["hit_rate"], abs=0.1)
    assert predicted["bytes_read"] == pytest.approx(point["bytes_read"], rel=0.5, abs=100_000)
    assert predicted["requests"] == pytest.approx(point["requests"], rel=0.5, abs=10)
