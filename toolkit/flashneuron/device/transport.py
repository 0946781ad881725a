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
        readable, _, _ = select.select([self._connection], [], [], transport_timeout_s)
        if not readable:
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
            _, writable, _ = select.select([], [self._connection], [], transport_timeout_s)
            if not writable:
                raise TimeoutError(f"it took no data for {transport_timeout_s:g} s")
            left = left[self._connection.send(left) :]
        return total

    def cut(self) -> None:
        """Ends the connection under whoever waits for it, from any thread."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
