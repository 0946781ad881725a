"""Many services over one connection, as on USB, where a device has just one.

A thread receives every packet and hands it to the stream that it is for. Each stream has a number of ours; a write is
answered by one OKAY before the next may go, which is all of adb's flow control, and an OKAY goes back as soon as data
is queued: commands print little, and a transfer to the host is read as fast as it comes.
"""

from __future__ import annotations

import itertools
import queue
import threading

from flashneuron.device.packets import CLSE, OKAY, OPEN, WRTE, Data, Packet
from flashneuron.device.tcp_link import refused
from flashneuron.device.wire import Wire
from flashneuron.errors import DeviceError


class Multiplexer:
    """Owns `wire`. `connect` may be called by any thread; each link is one thread's at a time."""

    def __init__(self, wire: Wire, name: str) -> None:
        self.wire = wire
        self.name = name
        self._numbers = itertools.count(1)
        self._streams: dict[int, MultiplexedLink] = {}
        self._lock = threading.Lock()
        self._failure: DeviceError | None = None
        self._receiver = threading.Thread(target=self._receive, name=f"adb {name}", daemon=True)
        self._receiver.start()

    @property
    def failure(self) -> DeviceError | None:
        """Why nothing comes any more."""
        return self._failure

    def connect(self) -> MultiplexedLink:
        with self._lock:
            if self._failure:
                raise self._failure
            link = MultiplexedLink(self, next(self._numbers))
            self._streams[link.number] = link
            return link

    def send(self, command: bytes, arg0: int, arg1: int, data: Data = b"") -> None:
        with self._lock:
            if self._failure:
                raise self._failure
            self.wire.send(command, arg0, arg1, data)

    def forget(self, number: int) -> None:
        with self._lock:
            self._streams.pop(number, None)

    def close(self) -> None:
        self.wire.cut()
        self._receiver.join()
        self.wire.close()

    def _receive(self) -> None:
        while True:
            try:
                packet = self.wire.receive(None)
                link = self._streams.get(packet.arg1)
                if link:
                    link.take(packet)
                if packet.command == WRTE:  # one of a stream that is no more is dropped, but not left waiting
                    self.send(OKAY, packet.arg1, packet.arg0)
            except DeviceError as error:
                with self._lock:
                    self._failure = error
                    for link in self._streams.values():
                        link.take(None)
                return


class MultiplexedLink:
    """See link.Link."""

    def __init__(self, multiplexer: Multiplexer, number: int) -> None:
        self.number = number
        self._multiplexer = multiplexer
        self._remote_id = 0
        self._closed_by_device = False
        self._incoming: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()  # None: the end
        self._answers: queue.SimpleQueue[bool] = queue.SimpleQueue()  # to OPEN and WRTE; False: none will come

    @property
    def features(self) -> frozenset[str]:
        return self._multiplexer.wire.features

    @property
    def max_data(self) -> int:
        return self._multiplexer.wire.max_data

    @property
    def is_gone(self) -> bool:
        return self._multiplexer.failure is not None

    @property
    def has_input(self) -> bool:
        return not self._incoming.empty()

    def take(self, packet: Packet | None) -> None:
        """What came for this stream; None: the connection has gone. From the receiving thread."""
        if packet and packet.command == WRTE:
            self._incoming.put(packet.data)
        elif packet and packet.command == OKAY:
            self._remote_id = packet.arg0
            self._answers.put(True)
        elif packet is None or packet.command == CLSE:
            self._closed_by_device = True
            self._incoming.put(None)
            self._answers.put(False)

    def open(self, service: bytes) -> None:
        self._multiplexer.send(OPEN, self.number, 0, service + b"\0")
        if not self._answered(self._multiplexer.wire.timeouts.handshake):
            raise self._multiplexer.failure or refused(self._multiplexer.name, service)

    def write(self, data: Data, timeout_s: float | None) -> None:
        self._multiplexer.send(WRTE, self.number, self._remote_id, data)
        if not self._answered(timeout_s):
            raise self._multiplexer.failure or DeviceError(f"{self._multiplexer.name} closed the stream")

    def read(self, timeout_s: float | None) -> bytes | None:
        try:
            data = self._incoming.get(timeout=timeout_s)
        except queue.Empty:
            raise DeviceError(f"{self._multiplexer.name}: no answer for {timeout_s:g} s") from None
        if data is None:
            self._incoming.put(None)
            if self._multiplexer.failure:
                raise self._multiplexer.failure
        return data

    def close(self) -> None:
        self._multiplexer.forget(self.number)
        if not self._closed_by_device and not self.is_gone:
            self._closed_by_device = True
            self._multiplexer.send(CLSE, self.number, self._remote_id)

    def _answered(self, timeout_s: float | None) -> bool:
        try:
            return self._answers.get(timeout=timeout_s)
        except queue.Empty:
            raise DeviceError(f"{self._multiplexer.name}: no answer for {timeout_s:g} s") from None
