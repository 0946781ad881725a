"""Device profiles, and machines on which no phone can be emulated."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flashneuron.device.parse import parse_meminfo
from flashneuron.emulator.phone import start_phone
from flashneuron.emulator.profiles import DEFAULT_PROFILE, load_profile, profile_names
from flashneuron.emulator.unavailable import EmulatorUnavailable
from flashneuron.emulator.vendor import render_meminfo
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
