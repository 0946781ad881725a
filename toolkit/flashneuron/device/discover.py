"""From what `--device` says to a Device."""

from __future__ import annotations

import re

from flashneuron.device.adb import AdbDevice
from flashneuron.device.host import HostDevice
from flashneuron.device.phones import running_phones
from flashneuron.device.protocol import Device
from flashneuron.errors import DeviceError

_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")
_CHOICES = "start one with 'flashneuron emulator start', or use --device HOST:PORT or --device host"


def open_device(spec: str | None) -> Device:
    """`host`, `HOST:PORT`, or None: the emulated phone if exactly one runs. An adb device must answer."""
    if spec == "host":
        return HostDevice()
    if spec is None:
        phones = running_phones()
        if not phones:
            raise DeviceError(f"no device: no emulated phone runs; {_CHOICES}")
        if len(phones) > 1:
            listed = ", ".join(f"{phone.device} ({phone.name})" for phone in phones)
            raise DeviceError(f"several emulated phones run; choose one by --device: {listed}")
        spec = phones[0].device
    if spec.startswith("usb:"):
        raise DeviceError(f"{spec}: USB is not supported; run 'adb tcpip 5555' once, then --device PHONE_ADDRESS:5555")
    match = _ADDRESS.fullmatch(spec)
    if not match or not 0 < int(match["port"]) < 65536:
        raise DeviceError(f"'{spec}' is not a device; {_CHOICES}")
    device = AdbDevice(match["host"].strip("[]"), int(match["port"]))
    device.shell(["true"], timeout_s=10)
    return device
