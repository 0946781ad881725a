"""`flashneuron doctor` on machines that lack things."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from flashneuron import doctor
from flashneuron.cli.doctor import command
from flashneuron.device import runtime
from flashneuron.errors import FlashneuronError, InputError
from flashneuron.qnn import QnnSdk


def test_everything_is_looked_at() -> None:
    found = doctor.examine()
    assert {finding.purpose for finding in found} == set(doctor.PURPOSES)
    shown = CliRunner().invoke(command)
    assert shown.exit_code == 0
    assert all(finding.what in shown.output for finding in found)


def test_what_phones_need_comes_with_its_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("ANDROID_NDK_HOME", str(tmp_path))
    monkeypatch.setattr(runtime, "CHECKOUT", tmp_path)
    fixes = {finding.what: finding.fix for finding in doctor.examine("arm64") + doctor.examine("android")}
    assert fixes["aarch64-linux-gnu-g++"] == "apt-get install g++-aarch64-linux-gnu"
    assert fixes["qemu-aarch64-static"] == "apt-get install qemu-user-static"
    assert fixes["executorch for arm64"] == fixes["highway for arm64"] == "tools/setup arm64, in the checkout"
    assert fixes["runner for arm64 phones"].endswith("flashneuron runtime build --target arm64-portable")
    assert "is not an NDK: it has no source.properties" in fixes["NDK"]
    assert "flashneuron runtime build --target android-arm64 --ndk DIR --executorch DIR" in fixes["runner for Android"]


def test_what_is_missing_comes_with_its_fix_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> QnnSdk:
        raise InputError("QNN's libraries are missing; pip install 'flashneuron[qnn]'")

    monkeypatch.setattr(doctor, "find_qnn", missing)
    monkeypatch.setattr(doctor, "_version", {"executorch": "1.4.0"}.get)
    assert CliRunner().invoke(command).exit_code == 0, "only what was asked for fails"
    shown = CliRunner().invoke(command, ["--for", "qnn", "--format", "json"])
    findings = {finding["what"]: finding for finding in json.loads(shown.output.splitlines()[0])}
    assert "pip install 'flashneuron[qnn]'" in findings["QNN libraries"]["fix"]
    assert findings["ExecuTorch for QNN"]["fix"] == "pip install executorch==1.5.1"
    assert isinstance(shown.exception, FlashneuronError)
    assert shown.exit_code != 0
    exports = {finding.what: finding for finding in doctor.examine("export")}
    assert exports["executorch"].ok
    assert exports["torch"].fix == "pip install 'flashneuron[export]'"
