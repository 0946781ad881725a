"""A connection that speaks adb's packets: the handshake with its keys, sums for old peers, losses told as such."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from flashneuron.device import packets
from flashneuron.device.link import went_away
from flashneuron.device.packets import AUTH, AUTH_PUBLIC_KEY, AUTH_SIGNATURE, AUTH_TOKEN, CNXN, STLS, Data, Packet
from flashneuron.errors import DeviceError, LinkLost

_FEATURES = b"shell_v2,stat_v2"


@dataclass(frozen=True)
class Timeouts:
    """Seconds. `silence`: after which a device is asked whether it is still there; after another it is not. `longest`:
    for which a stream may be silent on a device that is there, whatever was asked for: a damaged packet may have ended
    it on one side alone.
    """

    handshake: float = 10.0
    send: float = 60.0  # slow flash holds the sender up
    authorise: float = 60.0  # a person has to tap on the phone
    silence: float = 15.0
    longest: float = 600.0


class Silence(DeviceError):
    """Nothing came for as long as was waited, and nothing is broken by that."""


class Transport(Protocol):
    """Bytes to a device. Timeouts are seconds of silence, None waits for ever; every failure is an OSError."""

    def connect(self, transport_timeout_s: float | None) -> None: ...
    def close(self) -> None: ...
    def cut(self) -> None: ...
    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes: ...
    def bulk_write(self, data: Data, transport_timeout_s: float | None) -> int: ...


class Signer(Protocol):
    """adb-shell's signers have this shape."""

    def Sign(self, data: bytes) -> bytes: ...
    def GetPublicKey(self) -> str | bytes: ...


LoadSigners = Callable[[], Sequence[Signer]]


class Wire:
    """Connects and shakes hands at once. One thread may send while another receives.

    `name` is how messages call the device; `load_signers` is asked only by a device that wants to know who calls.
    """

    def __init__(
        self, transport: Transport, name: str, load_signers: LoadSigners = tuple, timeouts: Timeouts | None = None
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self._transport = transport
        self._name = name
        self._summed = True  # until the peer says a version that has no sums
        self.is_gone = False
        self.max_data = packets.EARLY_MAX_DATA
        self.features = frozenset[str]()
        try:
            transport.connect(self.timeouts.handshake)
        except OSError as error:
            raise DeviceError(f"no device answers at {name} ({_reason(error)}); is it on, and adb over TCP?") from error
        try:
            self._shake_hands(load_signers)
        except BaseException:
            self.close()
            raise

    def send(self, command: bytes, arg0: int, arg1: int, data: Data = b"") -> None:
        header = packets.pack_header(command, arg0, arg1, data, self._summed)
        try:
            self._transport.bulk_write(header, self.timeouts.send)
            if data:
                self._transport.bulk_write(data, self.timeouts.send)
        except OSError as error:
            raise self.lost(_reason(error)) from error

    def receive(self, timeout_s: float | None) -> Packet:
        """The next packet; `timeout_s` is for its first bytes. Raises Silence when they do not come."""
        try:
            first = self._transport.bulk_read(packets.HEADER_BYTES, timeout_s)
        except TimeoutError as error:
            raise Silence(f"{self._name}: {_reason(error)}") from error
        except OSError as error:
            raise self.lost(_reason(error)) from error
        try:
            header = packets.parse_header(first + self._read_exactly(packets.HEADER_BYTES - len(first)))
            data = self._read_exactly(header.data_bytes)
        except ValueError as error:
            raise DeviceError(f"what answers at {self._name} does not speak adb") from error
        except OSError as error:
            raise self.lost(_reason(error)) from error
        if self._summed and header.command not in (CNXN, AUTH) and packets.data_sum(data) != header.data_sum:
            raise self.lost("a packet came damaged")
        return Packet(header.command, header.arg0, header.arg1, data)

    def lost(self, why: str) -> LinkLost:
        self.is_gone = True
        return went_away(self._name, why)

    def cut(self) -> None:
        """Ends a `receive` that waits, with LinkLost, from any thread."""
        self._transport.cut()

    def close(self) -> None:
        self._transport.close()

    def _shake_hands(self, load_signers: LoadSigners) -> None:
        self.send(CNXN, packets.VERSION, packets.MAX_DATA, b"host::features=" + _FEATURES + b"\0")
        answer = self.receive(self.timeouts.handshake)
        signers = load_signers() if answer.command == AUTH else ()
        for signer in signers:
            if answer.command != AUTH or answer.arg0 != AUTH_TOKEN:
                break
            self.send(AUTH, AUTH_SIGNATURE, 0, signer.Sign(answer.data))
            answer = self.receive(self.timeouts.handshake)
        if answer.command == AUTH and signers:
            key = signers[0].GetPublicKey()
            self.send(AUTH, AUTH_PUBLIC_KEY, 0, (key.encode() if isinstance(key, str) else key) + b"\0")
            answer = self._confirmed()
        if answer.command == STLS:
            what = f"{self._name} wants a paired connection (Wireless debugging)"
            raise DeviceError(f"{what}; 'adb pair' and 'adb connect' it, then name its serial by --device")
        if answer.command != CNXN:
            raise self._unaccepted()
        self._summed = min(answer.arg0, packets.VERSION) < packets.VERSION
        if answer.arg1 < packets.EARLY_MAX_DATA:
            raise DeviceError(f"{self._name} says that it takes {answer.arg1} bytes at a time, which no adb does")
        self.max_data = min(answer.arg1, packets.MAX_DATA)
        self.features = packets.features_of(answer.data)

    def _confirmed(self) -> Packet:
        try:
            return self.receive(self.timeouts.authorise)
        except Silence as error:
            what = f"{self._name} wants this computer's key confirmed on its screen"
            raise DeviceError(f"{what}; confirm it and run the command again") from error
        except LinkLost as error:  # some hang up on a key that was declined
            raise self._unaccepted() from error

    def _unaccepted(self) -> DeviceError:
        return DeviceError(f"{self._name} does not accept this computer's adb key; confirm it on the phone's screen")

    def _read_exactly(self, size: int) -> bytes:
        """The rest of a packet that has begun."""
        data = bytearray()
        while len(data) < size:
            data += self._transport.bulk_read(size - len(data), self.timeouts.handshake)
        return bytes(data)


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
