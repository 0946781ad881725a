"""The adb server's protocol against a scripted server on a socket of this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from flashneuron.device.adb_server import (
    Address,
    ListedDevice,
    ServerDevice,
    listed_devices,
    parse_devices,
    server_address,
)
from flashneuron.emulator.listening import serving
from flashneuron.errors import DeviceError

LISTING = """\
1A2B3C                 device usb:1-4 product:husky model:Pixel_8_Pro device:husky transport_id:3
192.168.1.7:5555       offline transport_id:4
adb-9Z._adb-tls-connect._tcp unauthorized
X no permissions (missing udev rules? user is in the plugdev group); see [http://x] usb:1-1 transport_id:5
"""


def answer(text: bytes) -> bytes:
    return b"OKAY%04x" % len(text) + text


@contextmanager
def server(script: Callable[[str], bytes | None]) -> Iterator[Address]:
    """Answers each request by `script`; after one that is answered by None it echoes and closes."""

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as requests:
            while size := requests.read(4):
                reply = script(requests.read(int(size, 16)).decode())
                connection.sendall(b"OKAY" if reply is None else reply)
                if reply is None:
                    connection.sendall(requests.read(5).upper())
                    return

    with serving(serve) as address:
        yield address


def test_devices_are_listed_with_state_and_model() -> None:
    expected = [
        ListedDevice("1A2B3C", "device", "Pixel 8 Pro"),
        ListedDevice("192.168.1.7:5555", "offline"),
        ListedDevice("adb-9Z._adb-tls-connect._tcp", "unauthorized"),
    ]
    assert parse_devices(LISTING)[:3] == expected
    assert parse_devices(LISTING)[3].state == "no"
    with server(lambda request: answer(LISTING.encode()) if request == "host:devices-l" else b"") as address:
        assert listed_devices(address)[:3] == expected


def test_no_server_means_no_devices() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
    assert listed_devices(address) == []
    with pytest.raises(DeviceError, match=r"no adb server answers at .*; start it: adb start-server"):
        ServerDevice("x", address).connect().open(b"sync:")


def test_a_service_is_a_stream_of_bytes() -> None:
    def script(request: str) -> bytes | None:
        replies = {"host:transport:ABC": b"OKAY", "host-serial:ABC:features": answer(b"shell_v2,cmd\n"), "exec:x": None}
        return replies[request]

    with server(script) as address:
        link = ServerDevice("ABC", address).connect()
        assert link.features == {"shell_v2", "cmd"}
        link.open(b"exec:x")
        assert not link.has_input
        link.write(b"hello", 5)
        assert link.read(5) == b"HELLO"
        assert link.read(5) is None
        link.close()


def test_a_refusal_carries_the_servers_words() -> None:
    words = b"device 'ABC' not found"
    with (
        server(lambda request: b"FAIL%04x" % len(words) + words) as address,
        pytest.raises(DeviceError, match="refuses host:transport:ABC: device 'ABC' not found"),
    ):
        ServerDevice("ABC", address).connect().open(b"sync:")


def test_a_stranger_at_the_servers_port_is_told() -> None:
    with server(lambda request: b"HTTP/1.1 400") as address, pytest.raises(DeviceError, match="does not speak"):
        listed_devices(address)


def test_a_server_that_hangs_up_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            for _ in range(2):
                connection, _address = listener.accept()
                connection.recv(64)
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(DeviceError, match=r"adb server does not answer \(it closed the connection\); restart it"):
            listed_devices(listener.getsockname())
        with pytest.raises(DeviceError, match="adb server does not answer"):
            _ = ServerDevice("ABC", listener.getsockname()).features


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ANDROID_ADB_SERVER_PORT", "many"),
        ("ANDROID_ADB_SERVER_PORT", "70000"),
        ("ADB_SERVER_SOCKET", "tcp:here:"),
        ("ADB_SERVER_SOCKET", "localabstract:adb"),
    ],
)
def test_a_server_address_that_is_none_is_refused(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADB_SERVER_SOCKET", raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(DeviceError, match=f"{variable} leads to no TCP port"):
        server_address()


def test_the_server_is_where_adb_would_look(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADB_SERVER_SOCKET", "ANDROID_ADB_SERVER_PORT", "ANDROID_ADB_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert server_address() == ("127.0.0.1", 5037)
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "5999")
    assert server_address() == ("127.0.0.1", 5999)
    monkeypatch.setenv("ADB_SERVER_SOCKET", "tcp:localhost:6000")
    assert server_address() == ("localhost", 6000)
    monkeypatch.setenv("ADB_SERVER_SOCKET", "tcp:6001")
    assert server_address() == ("127.0.0.1", 6001)
