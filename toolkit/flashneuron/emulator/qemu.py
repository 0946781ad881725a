"""The programs of another processor on an emulated phone: qemu's user mode, one process for each.

The kernel could be told to start qemu by itself (binfmt_misc), but for the whole machine and by root alone. So the
phone has qemu at /vendor/bin, and a pushed runner starts through /vendor/bin/arm64, where there is one
(device_runtime/cmake/start-runner.sh). adbd, shell and tools stay this machine's programs.
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from flashneuron.device.abi import ANDROID_ARM64, LINUX_ARM64
from flashneuron.emulator.profiles import Profile
from flashneuron.emulator.unavailable import EmulatorUnavailable

_QEMU = "qemu-aarch64-static"  # with no library of this machine's, which the phone does not have
_START = '#!/bin/sh\nexec /vendor/bin/{qemu} -cpu {cpu} "$@"\n'


def needs_qemu(profile: Profile) -> bool:
    return profile.qemu_cpu is not None and platform.machine() != LINUX_ARM64


def find_qemu() -> Path:
    found = shutil.which(_QEMU)
    if not found:
        raise EmulatorUnavailable(f"{_QEMU} is missing (Debian's package qemu-user-static, or tools/setup arm64)")
    return Path(found)


def phone_abi(profile: Profile) -> str:
    """What the phone says that it is: whose programs run there."""
    return ANDROID_ARM64 if needs_qemu(profile) else platform.machine()


def install_qemu(profile: Profile, vendor: Path) -> None:
    """Into a phone's /vendor: qemu, what starts programs by it, and the machine's name for the phone's `uname`."""
    programs = vendor / "bin"
    programs.mkdir()
    shutil.copy(find_qemu(), programs / _QEMU)
    start = programs / "arm64"
    start.write_text(_START.format(qemu=_QEMU, cpu=profile.qemu_cpu))
    start.chmod(0o755)
    (vendor / "machine").write_text(LINUX_ARM64 + "\n")
