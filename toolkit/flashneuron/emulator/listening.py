"""Servers of this machine alone, a thread a connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Handle = Callable[[socket.socket], None]


def accept_each(listener: socket.socket, handle: Handle) -> None:
    """Hands each connection over on a thread of its own, which closes it. Returns when the listener is shut down."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=handle, args=(connection,), daemon=True).start()


@contextmanager
def serving(handle: Handle) -> Iterator[tuple[str, int]]:
    """Accepts on a free port of 127.0.0.1 until the block ends; gives the address."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        threading.Thread(target=accept_each, args=(listener, handle), daemon=True).start()
        try:
            yield listener.getsockname()
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts; closing alone would not
