"""Devices of a running adb server (Google's adb, port 5037): over USB, TCP or a paired connection, as it knows them.

A request is its length in 4 hex digits and a text; the answer is OKAY or FAIL with a reason, then what was asked for
(AOSP, packages/modules/adb/SERVICES.TXT). After `host:transport:SERIAL` and a service's name the connection is the
service's stream, without packets.
"""

from __future__ import annotations

import os
import re
import select
import socket
from dataclasses import dataclass
from functools import cached_property

from flashneuron.device.link import went_away
from flashneuron.device.packets import MAX_DATA, Data
from flashneuron.device.transport import RepairedTcpTransport
from flashneuron.errors import DeviceError, LinkLost

_ANSWER_S = 20.0
_DEFAULT = ("127.0.0.1", 5037)
Address = tuple[str, int]


@dataclass(frozen=True)
class ListedDevice:
    """A device of the server. `state`: device, unauthorized, offline …"""

    serial: str
    state: str
    model: str = ""


def server_address() -> Address:
    """Where adb itself would look: ADB_SERVER_SOCKET, else ANDROID_ADB_SERVER_ADDRESS and _PORT. DeviceError for what
    is no TCP port.
    """
    said = os.environ.get("ADB_SERVER_SOCKET")
    variable = "ADB_SERVER_SOCKET" if said else "ANDROID_ADB_SERVER_PORT"
    if not said:
        host = os.environ.get("ANDROID_ADB_SERVER_ADDRESS") or _DEFAULT[0]
        said = f"tcp:{host}:{os.environ.get('ANDROID_ADB_SERVER_PORT') or _DEFAULT[1]}"
    scheme, _, place = said.partition(":")
    host, _, port = place.rpartition(":")
    if scheme != "tcp" or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise DeviceError(f"{variable} leads to no TCP port ({said}); set it to the adb server's, or unset it")
    return host.strip("[]") or _DEFAULT[0], int(port)


def listed_devices(address: Address | None = None) -> list[ListedDevice]:
    """What the server knows; none if no server runs, which is never started."""
    server = _Server(address or server_address())
    try:
        server.connect()
    except OSError:
        return []
    with server:
        server.request("host:devices-l")
        return parse_devices(server.text())


def parse_devices(text: str) -> list[ListedDevice]:
    """Lines like `SERIAL  device usb:1-4 product:x model:Pixel_8 device:x transport_id:3`."""
    devices = []
    for line in text.splitlines():
        serial, _, rest = line.strip().partition(" ")
        words = rest.split()
        if not serial or not words:
            continue
        states = [word for word in words if ":" not in word] or words[:1]
        model = next((word[6:] for word in words if word.startswith("model:")), "")
        devices.append(ListedDevice(serial, " ".join(states[:1]), model.replace("_", " ")))
    return devices


class ServerDevice:
    """One device of a server. `connect` gives links; threads may share it."""

    def __init__(self, serial: str, address: Address | None = None) -> None:
        self.serial = serial
        self._address = address or server_address()

    def connect(self) -> ServerLink:
        return ServerLink(self)

    @cached_property
    def features(self) -> frozenset[str]:
        with self.request(f"host-serial:{self.serial}:features") as server:
            return frozenset(filter(None, server.text().strip().split(",")))

    def request(self, *requests: str) -> _Server:
        """A connection that has answered OKAY to each."""
        server = _Server(self._address)
        try:
            server.connect()
            for request in requests:
                server.request(request)
        except OSError as error:
            server.close()
            where = f"{self._address[0]}:{self._address[1]}"
            raise DeviceError(f"no adb server answers at {where} ({error}); start it: adb start-server") from error
        except BaseException:
            server.close()
            raise
        return server


class ServerLink:
    """See link.Link."""

    max_data = MAX_DATA

    def __init__(self, device: ServerDevice) -> None:
        self._device = device
        self._server: _Server | None = None
        self.is_gone = False

    @property
    def features(self) -> frozenset[str]:
        return self._device.features

    @property
    def has_input(self) -> bool:
        try:
            return self._server is not None and self._server.has_input
        except OSError:  # the next read or write tells
            return False

    def open(self, service: bytes) -> None:
        self._server = self._device.request(f"host:transport:{self._device.serial}", service.decode())

    def write(self, data: Data, timeout_s: float | None) -> None:
        assert self._server is not None
        try:
            self._server.bulk_write(data, timeout_s)
        except OSError as error:
            raise self._failed(error) from error

    def read(self, timeout_s: float | None) -> bytes | None:
        assert self._server is not None
        try:
            return self._server.bulk_read(MAX_DATA, timeout_s)
        except TimeoutError as error:
            raise DeviceError(f"{self._device.serial}: {error}") from error
        except ConnectionResetError as error:
            if error.errno is None:
                return None  # closed in order, by the service's end or the device's: the caller knows which by its data
            raise self._failed(error) from error
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        if self._server:
            self._server.close()

    def _failed(self, error: OSError) -> LinkLost:
        self.is_gone = True
        return went_away(self._device.serial, error)


class _Server(RepairedTcpTransport):
    """A connection to the server."""

    def __init__(self, address: Address) -> None:
        super().__init__(*address)

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def connect(self, transport_timeout_s: float | None = _ANSWER_S) -> None:
        super().connect(transport_timeout_s)

    @property
    def has_input(self) -> bool:
        return self._ready(select.POLLIN, 0) and bool(self._connection.recv(1, socket.MSG_PEEK))

    def request(self, text: str) -> None:
        """Raises DeviceError with the server's reason when it says FAIL."""
        data = text.encode()
        self.bulk_write(b"%04x" % len(data) + data, _ANSWER_S)
        status = self._exactly(4)
        if status == b"FAIL":
            raise DeviceError(f"the adb server refuses {text.partition(',')[0][:60]}: {self.text()}")
        if status != b"OKAY":
            raise DeviceError("what answers at the adb server's port does not speak its protocol")

    def text(self) -> str:
        try:
            size = int(self._exactly(4), 16)
        except ValueError:
            raise DeviceError("what answers at the adb server's port does not speak its protocol") from None
        return self._exactly(size).decode("utf-8", "replace")

    def _exactly(self, size: int) -> bytes:
        data = b""
        try:
            while len(data) < size:
                data += self.bulk_read(size - len(data), _ANSWER_S)
        except OSError as error:
            raise DeviceError(f"the adb server does not answer ({error}); restart it: adb kill-server") from error
        return data
