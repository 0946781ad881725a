"""Device profiles, and machines on which no phone can be emulated."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import pytest

from flashneuron.device.parse import parse_meminfo
from flashneuron.emulator import phone
from flashneuron.emulator.phone import start_phone
from flashneuron.emulator.profiles import DEFAULT_PROFILE, load_profile, profile_names
from flashneuron.emulator.unavailable import EmulatorUnavailable
from flashneuron.emulator.vendor import render_meminfo, write_vendor
from flashneuron.errors import InputError
from flashneuron.progress import SilentProgress


@pytest.mark.parametrize("name", profile_names())
def test_profiles_are_whole_and_make_sense(name: str) -> None:
    profile = load_profile(name)
    assert profile.available_ram_bytes < profile.ram_bytes
    assert profile.flash_write_bytes_per_s <= profile.flash_read_bytes_per_s
    # 4 KiB reads alone never reach the sequential bandwidth of flash.
    assert profile.flash_read_iops * 4096 < profile.flash_read_bytes_per_s
    assert profile.figures.source
    assert {"ro.product.model", "ro.soc.model", "ro.build.version.release"} <= profile.properties.keys()


def test_the_required_profiles_are_there() -> None:
    assert {DEFAULT_PROFILE, "oneplus-12", "pixel-8", "midrange-8gb"} <= set(profile_names())


@pytest.mark.parametrize("name", ["", "nokia-3310", "../profiles/pixel-8"])
def test_an_unknown_profile_is_answered_with_the_known(name: str) -> None:
    with pytest.raises(InputError, match="there are entry-4gb"):
        load_profile(name)


def test_meminfo_reads_back() -> None:
    memory = parse_meminfo(render_meminfo(load_profile("pixel-8")))
    assert (memory["MemTotal"], memory["MemAvailable"]) == (8 << 30, 4831838208)


def test_an_arm64_phone_starts_its_programs_by_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    qemu = tmp_path / "qemu-aarch64-static"
    qemu.write_text('#!/bin/sh\nshift 2; echo "ran $*"\n')
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    write_vendor(tmp_path / "vendor", load_profile("pixel-5-arm64"), [])
    assert (tmp_path / "vendor/properties/ro.product.cpu.abi").read_text() == "arm64-v8a\n"
    assert (tmp_path / "vendor/machine").read_text() == "aarch64\n"
    start = (tmp_path / "vendor/bin/arm64").read_text()
    assert 'exec /vendor/bin/qemu-aarch64-static -cpu cortex-a76 "$@"' in start
    facts = json.loads((tmp_path / "vendor/etc/flashneuron-emulated.json").read_text())
    assert any(line.startswith("processor: qemu's cortex-a76 on x86_64: ") for line in facts["not_imitated"])


def test_on_an_arm64_machine_it_needs_no_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    write_vendor(tmp_path / "vendor", load_profile("pixel-5-arm64"), [])
    assert not (tmp_path / "vendor/bin").exists()


def test_without_qemu_an_arm64_phone_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(phone, "require_machine", lambda: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulatorUnavailable, match=r"qemu-aarch64-static is missing .*tools/setup arm64"):
        start_phone("pixel-5-arm64", SilentProgress())


def test_where_neither_root_nor_user_namespaces_are_to_be_had_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("unshare", "mount", "apt-get", "dpkg-deb"):
        (tools / name).write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2; exit 1\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(
        EmulatorUnavailable, match=r"it needs root, or user namespaces .*not permitted.*; use --device host"
    ):
        start_phone(DEFAULT_PROFILE, SilentProgress())
    assert not (tmp_path / "cache").exists()


def test_without_debians_tools_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulatorUnavailable, match=r"unshare is missing .*; use --device host"):
        start_phone(DEFAULT_PROFILE, SilentProgress())
