"""A way to a phone's adb port on which a fault happens. On 127.0.0.1 alone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from flashneuron.emulator.faults import Direction, Fault, damaged

_BLOCK = 64 * 1024


class FaultsProxy:
    """Forwards `port` (its own, made by `listen`) to `target`. Each of `faults` happens once.

    `rewrite`: bytes of what the device says that are replaced by others of the same length, for instance b"shell_v2".
    """

    def __init__(self, target: int, faults: Sequence[Fault] = (), rewrite: Mapping[bytes, bytes] | None = None) -> None:
        self._target = target
        self._waiting = list(faults)
        self._rewrite = dict(rewrite or {})
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.carried: dict[Direction, int] = {"to_device": 0, "from_device": 0}
        self.happened: list[Fault] = []
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @contextmanager
    def running(self) -> Iterator[FaultsProxy]:
        self._start(self._accept)
        try:
            yield self
        finally:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
            self.cut()
            for thread in self._threads:
                thread.join()
            for each in [self._listener, *self._open]:
                each.close()

    def cut(self) -> None:
        """Ends every connection there is now."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            stalled = threading.Event()
            self._open += [near, far]
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink, direction in ((near, far, "to_device"), (far, near, "from_device")):
                self._start(self._carry, source, sink, direction, stalled)

    def _carry(
        self, source: socket.socket, sink: socket.socket, direction: Direction, stalled: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := source.recv(_BLOCK):
                if direction == "from_device":
                    for old, new in self._rewrite.items():
                        data = data.replace(old, new)
                start, fault = self._count(direction, len(data))
                if fault and fault.kind == "stall":
                    stalled.set()
                if fault and fault.kind == "cut":
                    sink.sendall(data[: fault.at - start])
                    break
                if stalled.is_set():
                    continue
                sink.sendall(damaged(data, start, fault) if fault else data)
        if not stalled.is_set():
            for each in (source, sink):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _count(self, direction: Direction, size: int) -> tuple[int, Fault | None]:
        """The place of the first of `size` bytes, and what happens among them."""
        with self._lock:
            start = self.carried[direction]
            self.carried[direction] += size
            for fault in self._waiting:
                if fault.direction == direction and start <= fault.at < start + size:
                    self._waiting.remove(fault)
                    self.happened.append(fault)
                    return start, fault
        return start, None
