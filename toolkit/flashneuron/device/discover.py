"""From what `--device` says to a Device."""

from __future__ import annotations

import re
from collections.abc import Callable

from flashneuron.device.adb import AdbDevice, tcp_device
from flashneuron.device.adb_server import ListedDevice, ServerDevice, listed_devices
from flashneuron.device.host import HostDevice
from flashneuron.device.phones import running_phones
from flashneuron.device.protocol import Device
from flashneuron.device.usb import open_usb
from flashneuron.errors import DeviceError

_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")
_CHOICES = "start one with 'flashneuron emulator start', or use --device HOST:PORT, a serial of 'adb devices', or host"
_STATES = {
    "unauthorized": "allow this computer on its screen",
    "authorizing": "allow this computer on its screen",
    "offline": "reconnect it",
    "no permissions": "see 'adb devices -l'",
}


def open_device(spec: str | None, listed: Callable[[], list[ListedDevice]] = listed_devices) -> Device:
    """`host`, `HOST:PORT`, `usb:SERIAL`, a serial of the adb server that runs, or None: the only device there is, of
    emulated phones and of the server's. It must answer.
    """
    if spec == "host":
        return HostDevice()
    if spec is not None and spec.startswith("usb:"):
        shared = open_usb(spec[4:] or None)
        return _answering(AdbDevice(spec, shared.connect, close=shared.close))
    known = listed()
    if spec is None:
        return _only(known)
    for each in known:
        if each.serial == spec:
            return _of_server(each)
    match = _ADDRESS.fullmatch(spec)
    if match and 0 < int(match["port"]) < 65536:
        return _answering(tcp_device(match["host"].strip("[]"), int(match["port"])))
    there = f"; the adb server has {', '.join(map(_described, known))}" if known else ""
    raise DeviceError(f"'{spec}' is not a device{there}; {_CHOICES}")


def _only(known: list[ListedDevice]) -> Device:
    phones = running_phones()
    addresses = {phone.device for phone in phones}  # the server may hold a phone of ours too
    ready = [each for each in known if each.state == "device" and each.serial not in addresses]
    if len(phones) + len(ready) > 1:
        choices = [f"{phone.device} (emulated phone {phone.name})" for phone in phones] + [*map(_described, ready)]
        raise DeviceError(f"there are several devices; choose one by --device: {', '.join(choices)}")
    if phones:
        return _answering(tcp_device("127.0.0.1", phones[0].port))
    if ready or len(known) == 1:
        return _of_server((ready or known)[0])
    others = f"; the adb server has {', '.join(map(_described, known))}" if known else ""
    raise DeviceError(f"no device: no emulated phone runs{others}; {_CHOICES}")


def _of_server(each: ListedDevice) -> Device:
    if each.state != "device":
        raise DeviceError(f"{_described(each)}; {_STATES.get(each.state, 'reconnect it')}")
    return _answering(AdbDevice(each.serial, ServerDevice(each.serial).connect, parallel=2))


def _described(each: ListedDevice) -> str:
    facts = ", ".join(filter(None, (each.model, "" if each.state == "device" else each.state)))
    return each.serial + (f" ({facts})" if facts else "")


def _answering(device: AdbDevice) -> AdbDevice:
    device.shell(["true"], timeout_s=10)
    return device
