"""One adb connection that carries one stream: handshake, authorisation, flow control. Over adb-shell's transports."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from adb_shell import constants

from flashneuron.errors import DeviceError

_VERSION = 0x01000001  # from this version on neither side sums up payloads
_MAX_DATA = 1024 * 1024
_FEATURES = b"shell_v2,stat_v2"
_HANDSHAKE_S = 10.0
_SEND_S = 60.0  # slow flash holds the sender up
_AUTHORISE_S = 60.0  # a person has to tap on the phone
_LOCAL_ID = 1
_HEADER = struct.Struct("<6I")


class Transport(Protocol):
    def connect(self, transport_timeout_s: float | None) -> None: ...
    def close(self) -> None: ...
    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes: ...
    def bulk_write(self, data: bytes | bytearray | memoryview, transport_timeout_s: float | None) -> int: ...


class Signer(Protocol):
    """adb-shell's signers have this shape."""

    def Sign(self, data: bytes) -> bytes: ...
    def GetPublicKey(self) -> str | bytes: ...


class AdbLink:
    """Connects at once. `open` a service, then `write` and `read`, then `close`. One thread at a time.

    `name` is how messages call the device; `load_signers` is asked only by a device that wants to know who calls.
    Everything that goes wrong is a DeviceError.
    """

    def __init__(self, transport: Transport, name: str, load_signers: Callable[[], Sequence[Signer]] = tuple) -> None:
        self._transport = transport
        self._name = name
        self._remote_id = 0
        self._incoming: deque[bytes] = deque()
        self._unacknowledged = False
        self._closed_by_device = False
        self.is_gone = False  # the connection was lost
        try:
            transport.connect(_HANDSHAKE_S)
        except OSError as error:
            raise DeviceError(f"no device answers at {name} ({_reason(error)}); is it on, and adb over TCP?") from error
        try:
            self.max_data = self._handshake(load_signers)
        except BaseException:
            self.close()
            raise

    def open(self, service: bytes) -> None:
        self._send(constants.OPEN, _LOCAL_ID, 0, service + b"\0")
        while True:
            command, remote, local, _ = self._receive(_HANDSHAKE_S)
            if command == constants.OKAY and local == _LOCAL_ID:
                self._remote_id = remote
                return
            if command == constants.CLSE and local == _LOCAL_ID:
                raise DeviceError(f"{self._name} refuses the service {service.split(b':')[0].decode()}")

    def write(self, data: bytes | bytearray | memoryview, timeout_s: float | None) -> None:
        """Send at most `max_data` bytes, wait until the device took them. What it says meanwhile waits for `read`."""
        self._send(constants.WRTE, _LOCAL_ID, self._remote_id, data)
        self._unacknowledged = True
        while self._unacknowledged:
            if self._closed_by_device:
                raise self._gone("it closed the stream")
            self._dispatch(timeout_s)

    def read(self, timeout_s: float | None) -> bytes | None:
        """The next piece of the stream; None when the device closed it."""
        while not self._incoming:
            if self._closed_by_device:
                return None
            self._dispatch(timeout_s)
        return self._incoming.popleft()

    @property
    def has_input(self) -> bool:
        """The device has said something that `read` would give without waiting."""
        return bool(self._incoming)

    def close(self) -> None:
        self._transport.close()

    def _dispatch(self, timeout_s: float | None) -> None:
        command, _, local, data = self._receive(timeout_s)
        if local != _LOCAL_ID:
            return  # a stray packet of a stream that is no more
        if command == constants.WRTE:
            self._incoming.append(data)
            self._send(constants.OKAY, _LOCAL_ID, self._remote_id)
        elif command == constants.OKAY:
            self._unacknowledged = False
        elif command == constants.CLSE:
            self._closed_by_device = True

    def _handshake(self, load_signers: Callable[[], Sequence[Signer]]) -> int:
        self._send(constants.CNXN, _VERSION, _MAX_DATA, b"host::features=" + _FEATURES + b"\0")
        command, kind, max_data, banner = self._receive(_HANDSHAKE_S)
        signers = load_signers() if command == constants.AUTH else ()
        for signer in signers:
            if command != constants.AUTH or kind != constants.AUTH_TOKEN:
                break
            self._send(constants.AUTH, constants.AUTH_SIGNATURE, 0, signer.Sign(banner))
            command, kind, max_data, banner = self._receive(_HANDSHAKE_S)
        if command == constants.AUTH and signers:
            key = signers[0].GetPublicKey()
            key = key.encode() if isinstance(key, str) else key
            self._send(constants.AUTH, constants.AUTH_RSAPUBLICKEY, 0, key + b"\0")
            command, kind, max_data, banner = self._receive(_AUTHORISE_S, "it wants the key confirmed on its screen")
        if command != constants.CNXN:
            raise DeviceError(f"{self._name} does not accept this computer's adb key; confirm it on the phone's screen")
        if b"shell_v2" not in banner:
            raise DeviceError(f"{self._name} runs an Android older than 7, which gives no exit codes over adb")
        return min(max_data, _MAX_DATA)

    def _send(self, command: bytes, arg0: int, arg1: int, data: bytes | bytearray | memoryview = b"") -> None:
        code = int.from_bytes(command, "little")
        # Before the handshake told the version, an old peer wants the sum of the bytes.
        check = sum(data) & 0xFFFFFFFF if command in (constants.CNXN, constants.AUTH) else 0
        header = _HEADER.pack(code, arg0, arg1, len(data), check, code ^ 0xFFFFFFFF)
        try:
            self._transport.bulk_write(header, _SEND_S)
            if data:
                self._transport.bulk_write(data, _SEND_S)
        except OSError as error:
            raise self._gone(_reason(error)) from error

    def _receive(self, timeout_s: float | None, hint: str = "") -> tuple[bytes, int, int, bytes]:
        try:
            code, arg0, arg1, size, _, magic = _HEADER.unpack(self._read_exactly(_HEADER.size, timeout_s))
            if magic != code ^ 0xFFFFFFFF or size > _MAX_DATA:
                raise DeviceError(f"what answers at {self._name} does not speak adb")
            return code.to_bytes(4, "little"), arg0, arg1, self._read_exactly(size, _HANDSHAKE_S)
        except TimeoutError as error:
            raise DeviceError(f"{self._name}: {hint or _reason(error)}") from error
        except OSError as error:
            raise self._gone(_reason(error)) from error

    def _read_exactly(self, size: int, timeout_s: float | None) -> bytes:
        data = bytearray()
        while len(data) < size:
            data += self._transport.bulk_read(size - len(data), timeout_s)
        return bytes(data)

    def _gone(self, why: str) -> DeviceError:
        self.is_gone = True
        return DeviceError(f"the device {self._name} went away ({why}); reconnect it and run the command again")


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
