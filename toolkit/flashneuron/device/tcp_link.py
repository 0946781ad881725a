"""A link over TCP: a connection of its own for each service, which adbd takes any number of."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from flashneuron.device.keys import load_signers
from flashneuron.device.packets import CLSE, OKAY, OPEN, WRTE, Data, Packet
from flashneuron.device.transport import RepairedTcpTransport
from flashneuron.device.wire import Silence, Timeouts, Wire
from flashneuron.errors import DeviceError, LinkLost

_LOCAL_ID = 1
_PING_ID = 2
_PING = b"flashneuron-ping:\0"  # a service that no device has: it answers by refusing it
_PAUSES_S = (0.05, 0.2, 0.5)  # before a connection is tried again


class TcpLink:
    """See link.Link; `wire` carries nothing else."""

    def __init__(self, wire: Wire, name: str) -> None:
        self._wire = wire
        self._name = name
        self._remote_id = 0
        self._incoming: deque[bytes] = deque()
        self._unacknowledged = False
        self._closed_by_device = False

    @property
    def features(self) -> frozenset[str]:
        return self._wire.features

    @property
    def max_data(self) -> int:
        return self._wire.max_data

    @property
    def is_gone(self) -> bool:
        return self._wire.is_gone

    @property
    def has_input(self) -> bool:
        return bool(self._incoming)

    def open(self, service: bytes) -> None:
        self._wire.send(OPEN, _LOCAL_ID, 0, service + b"\0")
        while True:
            packet = self._next(self._wire.timeouts.handshake)
            if packet.command == OKAY:
                self._remote_id = packet.arg0
                return
            if packet.command == CLSE:
                raise refused(self._name, service)

    def write(self, data: Data, timeout_s: float | None) -> None:
        self._wire.send(WRTE, _LOCAL_ID, self._remote_id, data)
        self._unacknowledged = True
        while self._unacknowledged:
            if self._closed_by_device:
                raise self._wire.lost("it closed the stream")
            self._dispatch(timeout_s)

    def read(self, timeout_s: float | None) -> bytes | None:
        while not self._incoming:
            if self._closed_by_device:
                return None
            self._dispatch(timeout_s)
        return self._incoming.popleft()

    def close(self) -> None:
        self._wire.close()

    def _dispatch(self, timeout_s: float | None) -> None:
        packet = self._next(timeout_s)
        if packet.command == WRTE:
            self._incoming.append(packet.data)
            self._wire.send(OKAY, _LOCAL_ID, self._remote_id)
        elif packet.command == OKAY:
            self._unacknowledged = False
        elif packet.command == CLSE:
            self._closed_by_device = True

    def _next(self, timeout_s: float | None) -> Packet:
        """The next packet of the stream. Raises Silence after `timeout_s`, LinkLost for a device that does not answer
        when it is asked, or that is silent for too long.
        """
        limits = self._wire.timeouts
        longest = timeout_s is None or timeout_s > limits.longest
        end = time.monotonic() + (limits.longest if longest or timeout_s is None else timeout_s)
        asked = False
        while (left_s := end - time.monotonic()) > 0:
            try:
                packet = self._wire.receive(min(limits.silence, left_s))
            except Silence:
                if asked:
                    raise self._wire.lost(f"it has not answered for {2 * limits.silence:g} s") from None
                self._wire.send(OPEN, _PING_ID, 0, _PING)
                asked = True
                continue
            asked = False
            if packet.arg1 == _LOCAL_ID:
                return packet
            if packet.command == WRTE:
                raise self._wire.lost("it sent data for nobody")
            # The answer to the question, or a stray packet of a stream that is no more.
        if longest:
            raise self._wire.lost(f"the stream has been silent for {limits.longest:g} s")
        raise Silence(f"{self._name}: no answer in time")


def refused(name: str, service: bytes) -> DeviceError:
    return DeviceError(f"{name} refuses the service {service.split(b':')[0].split(b',')[0].decode()}")


def connect_tcp(
    host: str,
    port: int,
    name: str,
    timeouts: Timeouts | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> TcpLink:
    """Tries again a few times when the device hangs up in the handshake, as adbd now and then does to a connection
    that follows another closely.
    """
    for pause_s in _PAUSES_S:
        try:
            return TcpLink(Wire(RepairedTcpTransport(host, port), name, load_signers, timeouts), name)
        except LinkLost:
            sleep(pause_s)
    return TcpLink(Wire(RepairedTcpTransport(host, port), name, load_signers, timeouts), name)
