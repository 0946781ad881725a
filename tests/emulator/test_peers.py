"""Every client against the real adbd and the small one; the table of what works is printed at the end of the tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath

import peers
import pytest
from adb_server import AdbServer
from conftest import PEERS
from peers import OPERATIONS, Peer

from flashneuron.device.adb import tcp_device
from flashneuron.device.phones import RunningPhone
from flashneuron.emulator.adbd import LEGACY, MODERN, Variant, small_adbd

CONTENT = os.urandom(300_001)  # adb-shell as it ships fails on what does not fit into the socket's buffer
NO_FEATURES = Variant(features=(), max_data=4096)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], AdbServer]]:
    """By age; each runs until the end. Skips, and says so, where there is none."""
    running = dict[str, AdbServer]()

    def get(age: str) -> AdbServer:
        if age not in running:
            try:
                program = peers.older_adb() if age == "29" else peers.newer_adb()
            except (ImportError, FileNotFoundError) as error:
                pytest.skip(f"adb {age} is missing: {error}")
            running[age] = AdbServer(program, tmp_path_factory.mktemp("adb")).__enter__()
        return running[age]

    yield get
    for server in running.values():
        server.__exit__(None, None, None)


@pytest.fixture
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int, PurePosixPath]]:
    """Its name, its port, and a folder of it. Parametrised by the test."""
    if request.param == "real":
        phone: RunningPhone = request.getfixturevalue("phone")
        base = PurePosixPath("/data/local/tmp/peers")
        tcp_device("127.0.0.1", phone.port).shell(["mkdir", "-p", str(base)])
        yield request.param, phone.port, base
        return
    variant = {"small": MODERN, "small, legacy": LEGACY}.get(request.param, NO_FEATURES)
    with small_adbd(tmp_path, variant) as port:
        yield request.param, port, PurePosixPath(tmp_path)


OTHERS = ["Google's adb 29", "Google's adb 36", "adbutils 2.12", "adb-shell 0.4.4"]
OURS = ["ours, TCP", "ours, multiplexed", "ours, server of adb 29", "ours, server of adb 36"]
PAIRS = [
    *((client, daemon) for daemon in ("real", "small") for client in OTHERS + OURS),
    # Of devices without shell_v2 Google's adb gets no exit codes; adb-shell never asks for them.
    *((client, daemon) for daemon in ("small, legacy", "small, no features") for client in OTHERS[3:] + OURS),
]


@pytest.mark.parametrize(("client", "daemon"), PAIRS, indirect=["daemon"])
def test_a_peer(
    client: str, daemon: tuple[str, int, PurePosixPath], servers: Callable[[str], AdbServer], tmp_path: Path
) -> None:
    name, port, base = daemon
    with connected(client, port, servers) as peer:
        found = peers.try_all(peer, base, tmp_path, CONTENT)
    PEERS.append((client, name, found))
    assert found == dict.fromkeys(OPERATIONS, True)


def connected(client: str, port: int, servers: Callable[[str], AdbServer]) -> AbstractContextManager[Peer]:
    serial = f"127.0.0.1:{port}"
    age = "29" if client.endswith("29") else "36"
    if client == "adb-shell 0.4.4":
        return nullcontext(peers.adb_shell_client(port))
    if client in ("ours, TCP", "ours, multiplexed"):
        return peers.our_client(client.removeprefix("ours, "), port)
    server = servers(age)
    server.run("connect", serial)
    if client.startswith("Google"):
        return nullcontext(peers.google_adb(server, serial))
    if client.startswith("adbutils"):
        return nullcontext(peers.adbutils_client(server, serial))
    return peers.our_client("server", port, server)
