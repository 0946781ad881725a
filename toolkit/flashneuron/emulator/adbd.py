"""A small adbd for what the real one of an emulated phone lacks: keys that are refused, peers of old that sum up and
take 4 KiB, services that are not there, a full disk. For tests: its commands run on this machine, as this user.

Its answers are the real adbd's: tests/emulator/test_small_adbd.py has both say the same to the same client.
"""

from __future__ import annotations

import os
import queue
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flashneuron.device import packets
from flashneuron.device.packets import AUTH, CLSE, CNXN, OKAY, OPEN, WRTE
from flashneuron.emulator.adbd_services import SERVICES, EndOfStream, serve_service
from flashneuron.emulator.listening import serving

_SUMMED = 0x01000000


@dataclass(frozen=True)
class Variant:
    """What kind of device it is. `auth`: which keys it lets in, the known one or what a person would answer about one
    that is sent. `full_after`: bytes that its storage still takes.
    """

    auth: Literal["none", "known", "refused", "confirmed", "unanswered"] = "none"
    version: int = packets.VERSION
    max_data: int = packets.MAX_DATA
    features: tuple[str, ...] = ("shell_v2", "stat_v2", "cmd")
    refused: frozenset[str] = frozenset()
    full_after: int | None = None
    read_only: bool = False


MODERN = Variant()
LEGACY = Variant(version=_SUMMED, max_data=packets.EARLY_MAX_DATA, features=())


@contextmanager
def small_adbd(folder: Path, variant: Variant = MODERN, known_key: Path | None = None) -> Iterator[int]:
    """Serves files below `folder` until the block ends; gives the port. `known_key`: a private key in PEM."""

    def handle(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _Session(connection, folder, variant, known_key).serve()

    with serving(handle) as (_, port):
        yield port


class _Session:
    """One connection: its packets on the thread that calls `serve`, each stream on a thread of its own."""

    def __init__(self, connection: socket.socket, folder: Path, variant: Variant, known_key: Path | None) -> None:
        self._connection = connection
        self._folder = folder
        self._variant = variant
        self._known_key = known_key
        self._summed = True
        self._lock = threading.Lock()
        self._streams: dict[int, _Stream] = {}
        self._opened = 0
        self.max_data = packets.EARLY_MAX_DATA

    def serve(self) -> None:
        with self._connection, suppress(OSError, EndOfStream, ValueError):
            if self._shake_hands():
                while True:
                    self._dispatch(*self._receive())
        for stream in list(self._streams.values()):
            stream.end()

    def forget(self, stream: _Stream) -> None:
        self._streams.pop(stream.number, None)

    def send(self, command: bytes, arg0: int, arg1: int, data: bytes = b"") -> None:
        with self._lock:
            self._connection.sendall(packets.pack_header(command, arg0, arg1, data, self._summed) + data)

    def _receive(self) -> tuple[packets.Header, bytes]:
        header = packets.parse_header(self._exactly(packets.HEADER_BYTES))
        data = self._exactly(header.data_bytes)
        if self._summed and packets.data_sum(data) != header.data_sum:
            raise ValueError("a packet came damaged")
        return header, data

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._connection.recv(size - len(data))
            if not piece:
                raise EndOfStream
            data += piece
        return data

    def _shake_hands(self) -> bool:
        header, _ = self._receive()
        if header.command != CNXN:
            return False
        variant = self._variant
        if variant.auth != "none" and not self._authorised():
            return False
        self._summed = min(header.arg0, variant.version) < packets.VERSION
        self.max_data = min(header.arg1, variant.max_data)
        banner = "device::ro.product.name=small;ro.product.model=Small;ro.product.device=small;"
        if variant.features:
            banner += "features=" + ",".join(variant.features)
        self.send(CNXN, variant.version, variant.max_data, banner.encode())
        return True

    def _authorised(self) -> bool:
        """Asks until a key is known, or one is sent to be confirmed by a person."""
        while True:
            token = os.urandom(20)
            self.send(AUTH, packets.AUTH_TOKEN, 0, token)
            header, data = self._receive()
            if header.command != AUTH:
                return False
            if header.arg0 == packets.AUTH_PUBLIC_KEY:
                if self._variant.auth == "confirmed":
                    return True
                if self._variant.auth == "refused":
                    return False
                self._receive()  # which ends with the connection: nobody looks at the phone
            elif self._variant.auth == "known" and self._known_key and _signed(self._known_key, token, data):
                return True

    def _dispatch(self, header: packets.Header, data: bytes) -> None:
        if header.command == OPEN:
            service = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
            kind = service.partition(":")[0].partition(",")[0]
            if kind in self._variant.refused or kind not in SERVICES:
                self.send(CLSE, 0, header.arg0)
                return
            self._opened += 1
            opened = self._streams[self._opened] = _Stream(self, self._opened, header.arg0)
            threading.Thread(target=opened.serve, args=(service, self._folder, self._variant), daemon=True).start()
        elif stream := self._streams.get(header.arg1):
            stream.take(header, data)
            if header.command == WRTE:
                self.send(OKAY, stream.number, stream.remote)
        elif header.command == OKAY:  # for a stream that is no more: the peer is told, as the real one does
            self.send(CLSE, header.arg1, header.arg0)


class _Stream:
    """See adbd_services.Stream."""

    def __init__(self, session: _Session, number: int, remote: int) -> None:
        self.number = number
        self.remote = remote
        self._session = session
        self._incoming: queue.SimpleQueue[bytes] = queue.SimpleQueue()  # b"": the end
        self._acknowledged: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._rest = b""

    def take(self, header: packets.Header, data: bytes) -> None:
        if header.command == WRTE and data:
            self._incoming.put(data)
        elif header.command == OKAY:
            self._acknowledged.put(True)
        elif header.command == CLSE:
            self.end()

    def end(self) -> None:
        self._incoming.put(b"")
        self._acknowledged.put(False)

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._rest += self.read_some()
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def read_some(self) -> bytes:
        data = self._incoming.get()
        if not data:
            self._incoming.put(b"")
            raise EndOfStream
        return data

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), self._session.max_data):
            self._session.send(WRTE, self.number, self.remote, data[start : start + self._session.max_data])
            if not self._acknowledged.get():
                self._acknowledged.put(False)
                raise EndOfStream

    def serve(self, service: str, folder: Path, variant: Variant) -> None:
        with suppress(OSError, EndOfStream, struct.error):
            self._session.send(OKAY, self.number, self.remote)
            serve_service(self, service, folder, variant.full_after, variant.read_only)
        self._session.forget(self)
        with suppress(OSError):
            self._session.send(CLSE, self.number, self.remote)


def _signed(private_key: Path, token: bytes, signature: bytes) -> bool:
    """Whether the owner of that key signed the token as if it were a SHA-1 digest, which is what adb does."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(private_key.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    try:
        key.public_key().verify(signature, token, padding.PKCS1v15(), utils.Prehashed(hashes.SHA1()))
    except InvalidSignature:
        return False
    return True
