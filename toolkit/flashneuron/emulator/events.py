"""What can befall a running phone: heat, a low battery, little memory, storage that takes no writes, commands that are
denied, a restart. Each is done as far as this machine allows, and the phone's own facts tell of it from then on.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from flashneuron.device.phones import RunningPhone, emulator_folder
from flashneuron.device.protocol import PHONE_ROOT
from flashneuron.emulator.cgroup import SHELL_UID, groups_of
from flashneuron.emulator.profiles import load_profile
from flashneuron.emulator.vendor import note_event, render_meminfo
from flashneuron.errors import DeviceError, InputError
from flashneuron.units import format_bytes

STATUSES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
# Of this machine's processor time. Governors differ; what is meant is that it gets slower, and by how much is told.
_CPU_SHARE = (None, 0.9, 0.75, 0.5, 0.35, 0.2, 0.1)
_PERIOD_US = 100_000
COMMANDS = ("am", "cmd", "dumpsys", "getprop", "setprop")


def heat(phone: RunningPhone, status: str) -> str:
    """Thermal status as dumpsys tells it, and the processor slowed down. Returns what was done."""
    level = STATUSES.index(status)
    share = _CPU_SHARE[level]
    quota = -1 if share is None else int(share * _PERIOD_US * len(os.sched_getaffinity(phone.pid)))
    done = _write_quota(phone, quota)
    _say(phone, "thermal", str(level) if level else None)
    slowed = (
        "the processor runs freely" if share is None else f"all cores together have {share:.0%} of their time{done}"
    )
    note_event(vendor_of(phone), "thermal", f"{status}: {slowed}" if level else None)
    return f"thermal status {status}; {slowed}"


def drain(phone: RunningPhone, level: int) -> str:
    _say(phone, "battery", str(level) if level != 100 else None)
    note_event(vendor_of(phone), "battery", f"{level} %" if level != 100 else None)
    return f"battery at {level} %"


def squeeze(phone: RunningPhone, available_bytes: int | None) -> str:
    """The RAM cap and MemAvailable, lower; None: as the profile has them."""
    profile = load_profile(phone.profile)
    size = profile.available_ram_bytes if available_bytes is None else available_bytes
    held = ", which is not enforced: there is no control group for memory"
    for folder in groups_of(phone.pid, phone.name):
        for file in ("memory.limit_in_bytes", "memory.max"):
            if (folder / file).exists():
                held = _lower(folder, file, size)
    (vendor_of(phone) / "meminfo").write_text(render_meminfo(profile, available_bytes))
    note_event(vendor_of(phone), "memory", None if available_bytes is None else f"{format_bytes(size)} available{held}")
    return f"{format_bytes(size)} of memory available{held}"


def fill(phone: RunningPhone, state: str) -> str:
    """Storage that takes no writes: read-only, as after an error of its file system, or full, where files of a push
    arrive, as when another app takes the last room in its middle. normal: neither.
    """
    init = _child(_child(phone.pid))
    data = _root_of(init) / "data"
    arriving = data / PHONE_ROOT.relative_to("/data") / "tmp"
    _in_phone(phone, init, "sh", "-c", 'while umount "$0" 2> /dev/null; do :; done', str(arriving))
    flags = f"remount,bind,{'ro' if state == 'read-only' else 'rw'},nosuid,nodev"
    _in_phone(phone, init, "mount", "-o", flags, str(data))
    if state == "full":
        _in_phone(phone, init, "mkdir", "-p", str(arriving))
        _in_phone(
            phone, init, "mount", "-t", "tmpfs", "-o", f"size=4k,mode=755,uid={SHELL_UID}", "tmpfs", str(arriving)
        )
    note_event(vendor_of(phone), "storage", None if state == "normal" else state)
    return f"storage is {'writable' if state == 'normal' else state}"


def deny(phone: RunningPhone, commands: list[str]) -> str:
    """These of COMMANDS cannot be executed, as some vendors have it; none: all can."""
    check_deniable(commands)
    _say(phone, "denied", " ".join(commands) or None)
    note_event(vendor_of(phone), "denied", " ".join(commands) or None)
    return f"denied: {', '.join(commands) or 'nothing'}"


def check_deniable(commands: list[str]) -> None:
    """Errors: InputError."""
    if unknown := set(commands) - set(COMMANDS):
        raise InputError(f"{', '.join(sorted(unknown))} cannot be denied; there are: {', '.join(COMMANDS)}")


def reboot(phone: RunningPhone) -> str:
    """Every process of it ends; its flash stays, and so do events but for the storage's, which is mounted anew."""
    note_event(vendor_of(phone), "storage", None)  # mounted anew
    os.kill(phone.pid, signal.SIGHUP)
    return "restarting"


def vendor_of(phone: RunningPhone) -> Path:
    return emulator_folder() / "phones" / phone.name / "vendor"


def _say(phone: RunningPhone, name: str, value: str | None) -> None:
    path = vendor_of(phone) / "events" / name
    if value is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(value + "\n")


def _write_quota(phone: RunningPhone, quota_us: int) -> str:
    """Returns what to add when it could not be enforced."""
    for folder in groups_of(phone.pid, phone.name):
        for file, text in (
            ("cpu.cfs_quota_us", str(quota_us)),
            ("cpu.max", f"{'max' if quota_us < 0 else quota_us} {_PERIOD_US}"),
        ):
            if (folder / file).exists():
                try:
                    (folder / file).write_text(text)
                except OSError as error:
                    return f", which is not enforced: {error.strerror}"
                return ""
    return ", which is not enforced: there is no control group for the processor"


def _lower(folder: Path, file: str, size: int) -> str:
    try:
        (folder / file).write_text(str(size))
    except OSError as error:
        return f", which is not enforced: the kernel refuses it ({error.strerror})"
    return ""


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _root_of(init: int) -> Path:
    """Where the phone's file system is mounted, from the arguments of its first process: /bin/sh boot.sh ROOT …"""
    return Path(Path(f"/proc/{init}/cmdline").read_bytes().split(b"\0")[2].decode())


def _in_phone(phone: RunningPhone, init: int, *command: str) -> None:
    """As root in its mount namespace."""
    done = subprocess.run(["nsenter", "--target", str(init), "--mount", *command], capture_output=True, text=True)
    if done.returncode != 0:
        raise DeviceError(f"the storage of {phone.name} cannot be changed: {done.stderr.strip()}")
