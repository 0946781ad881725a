"""Many streams over one connection, and USB's transfers, against a peer in this process."""

from __future__ import annotations

import queue
import threading

import pytest

from flashneuron.device import packets
from flashneuron.device.multiplex import Multiplexer
from flashneuron.device.packets import Data
from flashneuron.device.usb import UsbTransport
from flashneuron.device.wire import Wire
from flashneuron.errors import DeviceError, LinkLost

BANNER = b"device::features=shell_v2\0"


class EchoPeer:
    """A transport whose other end answers each stream's data with itself, in capitals; `refuse:` it refuses."""

    def __init__(self) -> None:
        self._out: queue.Queue[bytes] = queue.Queue()
        self._rest = b""
        self._header: packets.Header | None = None

    def connect(self, transport_timeout_s: float | None) -> None:
        pass

    def close(self) -> None:
        pass

    def cut(self) -> None:
        self._out.put(b"")

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
        if not self._rest:
            self._rest = self._out.get(timeout=transport_timeout_s)
            if not self._rest:
                raise ConnectionResetError("it closed the connection")
        data, self._rest = self._rest[:numbytes], self._rest[numbytes:]
        return data

    def bulk_write(self, data: Data, transport_timeout_s: float | None) -> int:
        if self._header is None:
            self._header = packets.parse_header(bytes(data))
            if self._header.data_bytes:
                return len(data)
            data = b""
        header, self._header = self._header, None
        self._answer(header, bytes(data))
        return len(data)

    def say(self, command: bytes, arg0: int, arg1: int, data: bytes = b"") -> None:
        self._out.put(packets.pack_header(command, arg0, arg1, data, False) + data)

    def _answer(self, header: packets.Header, data: bytes) -> None:
        if header.command == packets.CNXN:
            self.say(packets.CNXN, packets.VERSION, 1 << 20, BANNER)
        elif header.command == packets.OPEN and data.startswith(b"refuse:"):
            self.say(packets.CLSE, 0, header.arg0)
        elif header.command == packets.OPEN:
            self.say(packets.OKAY, header.arg0 + 100, header.arg0)
        elif header.command == packets.WRTE:
            self.say(packets.OKAY, header.arg1, header.arg0)
            self.say(packets.WRTE, header.arg1, header.arg0, data.upper())
            if data == b"bye":
                self.say(packets.CLSE, header.arg1, header.arg0)


@pytest.fixture
def peer() -> EchoPeer:
    return EchoPeer()


@pytest.fixture
def multiplexer(peer: EchoPeer) -> Multiplexer:
    return Multiplexer(Wire(peer, "phone"), "phone")


def test_streams_do_not_mix(multiplexer: Multiplexer) -> None:
    wrong: list[object] = []

    def talk(word: bytes) -> None:
        link = multiplexer.connect()
        link.open(b"echo:")
        for i in range(50):
            said = word + str(i).encode()
            link.write(said, 10)
            heard = link.read(10)
            if heard != said.upper():
                wrong.append(heard)
        link.close()

    threads = [threading.Thread(target=talk, args=(bytes([97 + i]),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_end_a_refusal_and_a_loss_are_told_apart(multiplexer: Multiplexer, peer: EchoPeer) -> None:
    link = multiplexer.connect()
    link.open(b"echo:")
    link.write(b"bye", 10)
    assert [link.read(10), link.read(10), link.read(10)] == [b"BYE", None, None]
    with pytest.raises(DeviceError, match="phone refuses the service refuse"):
        multiplexer.connect().open(b"refuse:me")
    silent = multiplexer.connect()
    silent.open(b"echo:")
    with pytest.raises(DeviceError, match=r"no answer for 0\.01 s"):
        silent.read(0.01)
    peer.cut()
    with pytest.raises(LinkLost, match="phone went away"):
        silent.read(10)
    with pytest.raises(LinkLost, match="phone went away"):
        multiplexer.connect()
    assert silent.is_gone


def test_what_comes_for_a_stream_that_is_no_more_is_dropped(multiplexer: Multiplexer, peer: EchoPeer) -> None:
    peer.say(packets.WRTE, 900, 77, b"stray")
    peer.say(packets.CLSE, 900, 77)
    link = multiplexer.connect()
    link.open(b"echo:")
    link.write(b"still here", 10)
    assert link.read(10) == b"STILL HERE"


class Libusb(Exception):
    received: bytes


class UsbError(Exception):
    """As adb-shell's: libusb's own error is within."""

    def __init__(self, within: str, received: bytes = b"") -> None:
        super().__init__("Could not receive data")
        self.usb_error = Libusb(within)
        self.usb_error.received = received


class Handle:
    """As adb-shell's USB transport: takes a part of a transfer, and gives what `incoming` holds, errors too."""

    def __init__(self, incoming: list[bytes | Exception]) -> None:
        self.incoming = incoming
        self.taken: list[bytes] = []

    def connect(self, timeout_s: float) -> None: ...
    def close(self) -> None: ...

    def bulk_read(self, size: int, timeout_s: float) -> bytes:
        found = self.incoming.pop(0)
        if isinstance(found, Exception):
            raise found
        return found[:size]

    def bulk_write(self, data: bytes, timeout_s: float) -> int:
        self.taken.append(data[:1000])
        return len(data[:1000])


def test_usb_writes_all_and_closes_what_ends_on_a_border() -> None:
    handle = Handle([])
    transport = UsbTransport(handle)
    assert transport.bulk_write(bytes(2048), 1) == 2048
    assert [len(each) for each in handle.taken] == [1000, 1000, 48, 0]
    assert transport.bulk_write(bytes(24), None) == 24
    assert [len(each) for each in handle.taken[4:]] == [24]


def test_usb_skips_empty_transfers_and_tells_silence_from_loss() -> None:
    silence = UsbError("LIBUSB_ERROR_TIMEOUT [-7]")
    transport = UsbTransport(Handle([b"", b"x", silence, UsbError("NO_DEVICE [-4]")]))
    assert transport.bulk_read(24, 1) == b"x"
    with pytest.raises(TimeoutError):
        transport.bulk_read(24, 1)
    with pytest.raises(ConnectionResetError, match="NO_DEVICE"):
        transport.bulk_read(24, 1)


def test_usb_keeps_what_came_before_a_timeout() -> None:
    late = UsbError("LIBUSB_ERROR_TIMEOUT [-7]", b"early")
    silence = UsbError("LIBUSB_ERROR_TIMEOUT [-7]")
    assert UsbTransport(Handle([silence, silence, late])).bulk_read(24, None) == b"early"


def test_a_usb_read_that_waits_ends_when_it_is_cut() -> None:
    class Cut(Handle):
        def bulk_read(self, size: int, timeout_s: float) -> bytes:
            transport.cut()
            raise UsbError("LIBUSB_ERROR_TIMEOUT [-7]")

    transport = UsbTransport(Cut([]))
    with pytest.raises(ConnectionResetError, match="closed here"):
        transport.bulk_read(24, None)
