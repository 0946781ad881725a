"""Device profiles: what an emulated phone imitates. One TOML file each under profiles/; the files' names are theirs."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveInt

from flashneuron.errors import InputError

# Slow enough that its flash limits are felt on any machine that can run it.
DEFAULT_PROFILE = "entry-4gb"
_FOLDER = Path(__file__).with_name("profiles")


class Figures(BaseModel):
    """Where a profile's numbers come from: of what date, from which source, and what was derived from what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    date: str
    source: str
    derived: str


class CurvePoint(BaseModel):
    """Random reads of `read_bytes` by as many threads as are of use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    read_bytes: PositiveInt
    bytes_per_s: PositiveInt


class Profile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    abi: str  # of the real phone; the emulated one runs this machine's programs, unless qemu_cpu is there
    cores: PositiveInt
    ram_bytes: PositiveInt
    available_ram_bytes: PositiveInt  # what the system leaves to one program; the RAM cap
    flash_read_bytes_per_s: PositiveInt
    flash_read_iops: PositiveInt
    flash_write_bytes_per_s: PositiveInt
    flash_write_iops: PositiveInt
    flash_read_curve: tuple[CurvePoint, ...] = ()  # as published, where it is; the two limits above stand for it
    figures: Figures
    qemu_cpu: str | None = None  # qemu's name of the processor for which the phone's runner is (qemu.py)
    npu: str | None = None  # what stands for the phone's NPU; None: nothing does
    properties: dict[str, str]  # what getprop says


def curve_text(profile: Profile) -> str | None:
    """How far the two limits, which are what the kernel can enforce, are from the phone's published curve."""
    if not profile.flash_read_curve:
        return None
    parts = []
    for point in profile.flash_read_curve:
        emulated = min(profile.flash_read_bytes_per_s, profile.flash_read_iops * point.read_bytes)
        parts.append(f"{point.read_bytes // 1024} KiB {emulated / point.bytes_per_s - 1:+.0%}")
    return "flash by read size, against the published curve: " + ", ".join(parts) + "; latency of one read: this disk's"


def profile_names() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_profile(name: str) -> Profile:
    if name not in profile_names():
        raise InputError(f"there is no device profile '{name}'; there are {', '.join(profile_names())}")
    return Profile.model_validate({"name": name, **tomllib.loads((_FOLDER / f"{name}.toml").read_text())})
