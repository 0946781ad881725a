"""A TCP forwarder: the only way in to an adbd that has a network of its own."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from contextlib import suppress

from flashneuron.emulator.listening import accept_each

_CHUNK = 1024 * 1024
_BOOT_S = 10.0  # adbd may need this long until it listens


def serve(listener: socket.socket, port: int) -> None:
    """Accepts until the listener is closed. New sockets are made in the caller's network namespace."""
    patience_end = time.monotonic() + _BOOT_S
    accept_each(listener, lambda client: _forward(client, port, patience_end))


def _forward(client: socket.socket, port: int, patience_end: float) -> None:
    with client:
        try:
            phone = _connect(port, patience_end)
        except OSError:
            return
        with phone:
            for end in (client, phone):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_pump, args=(phone, client), daemon=True)
            back.start()
            _pump(client, phone)
            back.join()


def _connect(port: int, patience_end: float) -> socket.socket:
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=None)
        except ConnectionRefusedError:
            if time.monotonic() > patience_end:
                raise
            time.sleep(0.02)


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Moves until either end is done, then ends both: adb knows no half-closed connections. The bytes are spliced
    through a pipe, so that they are not copied here: this work would compete with the phone's.
    """
    out, into = os.pipe()
    with suppress(OSError):
        fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, _CHUNK)
    try:
        with suppress(OSError):
            while count := os.splice(source.fileno(), into, _CHUNK):
                while count:
                    count -= os.splice(out, target.fileno(), count)
    finally:
        os.close(out)
        os.close(into)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
