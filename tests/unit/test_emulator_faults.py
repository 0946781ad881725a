"""Faults as data, and the proxy that makes them happen, between two sockets of this process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashneuron.emulator.faults import KINDS, Fault, damaged, random_fault
from flashneuron.emulator.faults_proxy import FaultsProxy
from flashneuron.emulator.listening import serving


@given(st.integers(0, 10_000))
def test_a_seed_is_a_fault(seed: int) -> None:
    fault = random_fault(seed, 5000, 300)
    assert fault == random_fault(seed, 5000, 300)
    assert 0 <= fault.at < (5000 if fault.direction == "to_device" else 300)


def test_seeds_reach_every_kind_and_both_directions() -> None:
    found = [random_fault(seed, 1000, 1000) for seed in range(200)]
    assert {(each.kind, each.direction) for each in found} == {
        (k, d) for k in KINDS for d in ("to_device", "from_device")
    }


@given(st.binary(min_size=1, max_size=40), st.data())
def test_damage_is_where_it_should_be(data: bytes, draw: st.DataObject) -> None:
    at, start = draw.draw(st.integers(0, len(data) - 1)), draw.draw(st.integers(0, 100))
    flipped = damaged(data, start, Fault("corrupt", "to_device", start + at, 3))
    assert [i for i, (a, b) in enumerate(zip(data, flipped, strict=True)) if a != b] == [at]
    assert flipped[at] ^ data[at] == 8
    assert damaged(data, start, Fault("drop", "to_device", start + at, 2)) == data[:at] + data[at + 2 :]


@contextmanager
def echo() -> Iterator[int]:
    """A server that says back what it hears."""

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(100):
                connection.sendall(data)

    with serving(serve) as (_, port):
        yield port


def talk(port: int, *words: bytes) -> bytes:
    """Everything that comes back to `words` within a moment of silence, or until the end."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.settimeout(0.3)
        try:
            for word in words:
                link.sendall(word)
                heard += link.recv(100)
            while data := link.recv(100):
                heard += data
        except OSError:
            pass
    return heard


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (None, b"0123456789"),
        (Fault("cut", "to_device", 7), b"0123456"),
        (Fault("stall", "to_device", 7), b"01234"),
        (Fault("stall", "from_device", 3), b""),
        (Fault("drop", "from_device", 3, 2), b"01256789"),
        (Fault("corrupt", "to_device", 3, 0), b"0122456789"),
    ],
)
def test_the_proxy_does_it_once(fault: Fault | None, expected: bytes) -> None:
    with echo() as target, FaultsProxy(target, [fault] if fault else []).running() as proxy:
        heard = talk(proxy.port, b"01234", b"56789")
        # What was on its way back when a connection is cut may be lost too.
        assert heard == expected or (fault and fault.kind == "cut" and expected.startswith(heard))
        assert proxy.happened == ([fault] if fault else [])
        assert talk(proxy.port, b"again") == b"again"


def test_what_the_device_says_can_be_rewritten() -> None:
    with echo() as target, FaultsProxy(target, rewrite={b"shell_v2": b"xxxxx_v2"}).running() as proxy:
        assert talk(proxy.port, b"features=shell_v2,cmd") == b"features=xxxxx_v2,cmd"
