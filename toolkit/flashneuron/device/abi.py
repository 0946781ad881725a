"""Which programs run on a device: the name of its ABI."""

from __future__ import annotations

from flashneuron.device.protocol import Device
from flashneuron.device.shell_result import check

# Programs linked to Android's C library run only where its loader is. A phone without it, as an emulated one is, is a
# Linux machine to us.
ANDROID_ARM64 = "arm64-v8a"
LINUX_ARM64 = "aarch64"
_ASK = "uname -m; getprop ro.product.cpu.abi 2> /dev/null || echo; [ ! -e /system/bin/linker64 ] || echo bionic"


def device_abi(device: Device) -> str:
    """arm64-v8a on Android; elsewhere the machine's name (x86_64, aarch64). Raises DeviceError."""
    return parse_abi(check(device.shell(["sh", "-c", _ASK]), "ask for the device's ABI").text)


def parse_abi(said: str) -> str:
    """Of three lines: the machine; Android's name of the first ABI, or nothing; "bionic" or nothing."""
    machine, android, bionic, *_ = [line.strip() for line in said.splitlines()] + [""] * 3
    if android == ANDROID_ARM64 and not bionic:
        return LINUX_ARM64
    return android or machine
