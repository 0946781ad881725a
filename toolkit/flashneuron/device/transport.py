"""adb-shell's TCP transport, made to write everything, to be prompt, and to notice when the other end is gone."""

from __future__ import annotations

import select
import socket
from contextlib import suppress

from adb_shell.transport.tcp_transport import TcpTransport

# A phone that vanishes without a word (Wi-Fi off, cable out) is noticed after about this long: 5 s idle + 4 probes.
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 17_000}


class RepairedTcpTransport(TcpTransport):  # type: ignore[misc]  # adb-shell has no types
    """Timeouts are seconds of silence; None waits for ever. Every failure is an OSError (TimeoutError on silence)."""

    def connect(self, transport_timeout_s: float | None) -> None:
        connection = socket.create_connection((self._host, self._port), timeout=transport_timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            if hasattr(socket, option):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        connection.setblocking(False)
        self._connection = connection

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
        """1 to `numbytes` bytes."""
        if not self._ready(select.POLLIN, transport_timeout_s):
            raise TimeoutError(f"no answer for {transport_timeout_s:g} s")
        data: bytes = self._connection.recv(numbytes)
        if not data:
            raise ConnectionResetError("it closed the connection")
        return data

    def bulk_write(self, data: bytes | bytearray | memoryview, transport_timeout_s: float | None) -> int:
        """Writes all of `data`; the timeout starts anew with every byte that gets through."""
        left = memoryview(data).cast("B")
        total = len(left)
        while left:
            if not self._ready(select.POLLOUT, transport_timeout_s):
                raise TimeoutError(f"it took no data for {transport_timeout_s:g} s")
            left = left[self._connection.send(left) :]
        return total

    def cut(self) -> None:
        """Ends the connection under whoever waits for it, from any thread."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _ready(self, event: int, timeout_s: float | None) -> bool:
        """Whether it can be read or written within that time; what ends it counts as well."""
        poll = select.poll()
        poll.register(self._connection, event)
        return bool(poll.poll(None if timeout_s is None else max(0, timeout_s) * 1000))
