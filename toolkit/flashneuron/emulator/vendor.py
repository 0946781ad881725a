"""The phone's /vendor: what its stubs, its /proc/meminfo and flashneuron read about it."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from flashneuron.device.info import EMULATED_FACTS
from flashneuron.emulator.profiles import Profile
from flashneuron.emulator.qemu import install_qemu, needs_qemu, phone_abi


def write_vendor(folder: Path, profile: Profile, limits: list[dict[str, Any]]) -> None:
    """Makes `folder` anew; the phone mounts it read-only at /vendor."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "properties").mkdir(parents=True)
    for name, value in {**profile.properties, "ro.product.cpu.abi": phone_abi(profile)}.items():
        (folder / "properties" / name).write_text(value + "\n")
    (folder / "meminfo").write_text(render_meminfo(profile))
    facts = folder / PurePosixPath(EMULATED_FACTS).relative_to("/vendor")
    facts.parent.mkdir()
    facts.write_text(json.dumps(emulated_facts(profile, limits), indent=1) + "\n")
    (folder / "events").mkdir()
    if needs_qemu(profile):
        install_qemu(profile, folder)


def note_event(folder: Path, kind: str, value: str | None) -> None:
    """In the facts of the phone whose /vendor this is: every number from now on says so. None: it is over."""
    facts = folder / PurePosixPath(EMULATED_FACTS).relative_to("/vendor")
    known = json.loads(facts.read_text())
    events = {name: said for name, said in known.get("events", {}).items() if name != kind}
    known["events"] = events | ({kind: value} if value is not None else {})
    facts.write_text(json.dumps(known, indent=1) + "\n")


def render_meminfo(profile: Profile, available_bytes: int | None = None) -> str:
    """The memory that the profile's phone shows to a program; the RAM cap holds it to the available part."""
    available = profile.available_ram_bytes if available_bytes is None else available_bytes
    rows = {"MemTotal": profile.ram_bytes, "MemFree": available // 4}
    rows |= {"MemAvailable": available, "SwapTotal": 0, "SwapFree": 0}
    return "".join(f"{name + ':':<15} {size // 1024:>8} kB\n" for name, size in rows.items())


def emulated_facts(profile: Profile, limits: list[dict[str, Any]]) -> dict[str, Any]:
    """What is imitated and what is not; part of the conditions of every number measured on this phone."""
    abi = f"ABI: {platform.machine()} instead of {profile.abi}"
    if needs_qemu(profile):
        abi = f"processor: qemu's {profile.qemu_cpu} on {platform.machine()}: right numbers; times and memory are its"
    return {
        "profile": profile.name,
        "title": profile.title,
        "npu": profile.npu,
        "figures": profile.figures.model_dump(),
        "limits": limits,
        "not_imitated": [
            abi,
            f"cores: this machine's {os.cpu_count()} instead of {profile.cores}, at their own speed",
            "heat, battery and other apps, but as events say; meminfo shows figures of the profile, not what is in use",
        ],
    }
