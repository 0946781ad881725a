"""adb over USB, by adb-shell's transport on libusb. **Never run on real USB**: tests stand in for libusb's handle.

A device has one USB connection, so its services are multiplexed (multiplex.py), and Google's adb server must not hold
it: `adb kill-server`, or name the serial that the server shows instead.
"""

from __future__ import annotations

import threading
from typing import Any

from flashneuron.device.keys import load_signers
from flashneuron.device.multiplex import Multiplexer
from flashneuron.device.packets import Data
from flashneuron.device.wire import Wire
from flashneuron.errors import DeviceError

_LOOK_S = 1.0  # a read looks this often whether it was cut: libusb's handle must not be closed under it
_PIECE = 16 * 1024  # what Linux takes in one transfer


class UsbTransport:
    """Over an object like adb_shell.transport.usb_transport.UsbTransport. See wire.Transport."""

    def __init__(self, inner: Any, packet_bytes: int = 512) -> None:
        self._inner = inner
        self._packet_bytes = packet_bytes  # a transfer that ends on this border is closed by an empty one
        self._is_cut = threading.Event()

    def connect(self, transport_timeout_s: float | None) -> None:
        self._call(self._inner.connect, transport_timeout_s)

    def close(self) -> None:
        self._inner.close()

    def cut(self) -> None:
        self._is_cut.set()

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
        left_s = float("inf") if transport_timeout_s is None else transport_timeout_s
        while not self._is_cut.is_set():
            look_s = min(_LOOK_S, left_s)
            try:
                data = bytes(self._call(self._inner.bulk_read, min(numbytes, _PIECE), look_s))
            except TimeoutError as error:
                left_s -= look_s
                data = bytes(getattr(error.__cause__, "received", b""))
                if not data and left_s <= 0:
                    raise
            if data:
                return data  # an empty transfer only closes the one before
        raise ConnectionResetError("it was closed here")

    def bulk_write(self, data: Data, transport_timeout_s: float | None) -> int:
        left = memoryview(data).cast("B")
        total = len(left)
        while left:
            sent = self._call(self._inner.bulk_write, bytes(left[:_PIECE]), transport_timeout_s)
            if not sent:
                raise ConnectionResetError("it takes no data")
            left = left[sent:]
        if total and total % self._packet_bytes == 0:
            self._call(self._inner.bulk_write, b"", transport_timeout_s)
        return total

    @staticmethod
    def _call(method: Any, *arguments: Any) -> Any:
        """adb-shell wraps libusb's errors in its own; a timeout is told by their text alone, and has libusb's as its
        cause: what came before it is there.
        """
        try:
            return method(*arguments)
        except OSError:
            raise
        except Exception as error:
            within = getattr(error, "usb_error", None) or error
            said = (str(within).splitlines() or [type(within).__name__])[0]
            if "TIMEOUT" in said.upper():
                raise TimeoutError("no answer in time") from within
            raise ConnectionResetError(f"USB: {said}") from error


def open_usb(serial: str | None) -> Multiplexer:
    """The device of this serial number, or the only one there. Errors: DeviceError."""
    try:
        from adb_shell.transport.usb_transport import UsbTransport as Inner
    except (ImportError, OSError) as error:
        raise DeviceError(f"adb over USB needs libusb ({error}); pip install 'flashneuron[usb]'") from error
    name = f"usb:{serial or ''}"
    try:
        found = Inner.find_adb(serial=serial)
    except Exception as error:
        hint = "plug it in, allow USB debugging, and stop another program that holds it (adb kill-server)"
        raise DeviceError(f"no device at {name} ({type(error).__name__}: {error}); {hint}") from error
    packet_bytes = max(each.getMaxPacketSize() for each in found._setting.iterEndpoints())  # 512; 1024 on USB 3
    return Multiplexer(Wire(UsbTransport(found, packet_bytes), name, load_signers), name)
