"""One client over every way to the real adbd: TCP, one multiplexed connection (as over USB), a server of Google's adb;
and with the features of a device older than Android 7.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from adb_server import AdbServer

from flashneuron.device.adb import AdbDevice, tcp_device
from flashneuron.device.adb_server import ServerDevice, listed_devices
from flashneuron.device.multiplex import Multiplexer
from flashneuron.device.phones import RunningPhone
from flashneuron.device.protocol import PHONE_ROOT
from flashneuron.device.tcp_link import TcpLink
from flashneuron.device.transport import RepairedTcpTransport
from flashneuron.device.wire import Wire
from flashneuron.errors import DeviceError, LinkLost

TMP = PHONE_ROOT.parent


class _OldWire(Wire):
    """As if the device had said no features."""

    def _shake_hands(self, load_signers: object) -> None:
        super()._shake_hands(tuple)
        self.features = frozenset()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdbServer]:
    with AdbServer("adb", tmp_path_factory.mktemp("adb")) as started:
        yield started


@pytest.fixture(params=["tcp", "multiplexed", "server", "old"])
def device(request: pytest.FixtureRequest, phone: RunningPhone) -> Iterator[AdbDevice]:
    name = phone.device
    if request.param == "tcp":
        yield tcp_device("127.0.0.1", phone.port)
    elif request.param == "multiplexed":
        shared = Multiplexer(Wire(RepairedTcpTransport("127.0.0.1", phone.port), name), name)
        yield AdbDevice(name, shared.connect)
        shared.close()
    elif request.param == "server":
        server: AdbServer = request.getfixturevalue("server")
        server.run("connect", name)
        yield AdbDevice(name, ServerDevice(name, server.address).connect)
    else:
        yield AdbDevice(name, lambda: TcpLink(_OldWire(RepairedTcpTransport("127.0.0.1", phone.port), name), name))


def test_commands(device: AdbDevice) -> None:
    result = device.shell(["sh", "-c", "printf 'out\\0\\r\\n'; printf err >&2; exit 7"])
    assert (result.stdout, result.stderr, result.exit_code) == (b"out\0\r\n", b"err", 7)
    assert device.shell(["head", "-c", "3000000", "/dev/zero"]).stdout == bytes(3_000_000)
    assert device.shell(["sh", "-c", "kill -9 $$"]).exit_code == 137


def test_streams(device: AdbDevice) -> None:
    with device.stream(["sh", "-c", "sleep 1234 & echo started; wait"]) as running:
        assert next(iter(running)) == b"started"
        running.kill()
    assert b"sleep 1234" not in device.shell(["ps", "-A", "-o", "ARGS"]).stdout
    with device.stream(["sh", "-c", "echo a; echo b; echo oops >&2; exit 3"]) as running:
        assert list(running) == [b"a", b"b"]
        assert (running.exit_code, running.stderr) == (3, b"oops\n")


def test_files_go_there_and_back(device: AdbDevice, tmp_path: Path) -> None:
    for size in (0, 1, 65536, 65537, 3_000_001):
        source, back = tmp_path / "source", tmp_path / "back"
        source.write_bytes(os.urandom(size))
        device.push(source, TMP / "link test")
        device.pull(TMP / "link test", back)
        assert back.read_bytes() == source.read_bytes()
    with pytest.raises(DeviceError, match=r"/system/x.*(Read-only|Permission denied)"):
        device.push(source, PHONE_ROOT.parents[2] / "system" / "x")
    with pytest.raises(DeviceError, match=r"/no/such.*No such file"):
        device.pull(PHONE_ROOT.parents[2] / "no" / "such", back)


def test_threads_share_a_device(device: AdbDevice) -> None:
    found = dict[int, str]()

    def ask(number: int) -> None:
        found[number] = device.shell(["echo", str(number)]).text.strip()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: str(number) for number in range(6)}


def test_the_server_lists_it(server: AdbServer, phone: RunningPhone) -> None:
    server.run("connect", phone.device)
    assert [(each.serial, each.state) for each in listed_devices(server.address)] == [(phone.device, "device")]


def test_a_lost_connection_ends_every_stream_of_it(phone: RunningPhone) -> None:
    transport = RepairedTcpTransport("127.0.0.1", phone.port)
    shared = Multiplexer(Wire(transport, "phone"), "phone")
    device = AdbDevice("phone", shared.connect)
    with device.stream(["sh", "-c", "echo on; sleep 30"]) as running:
        lines = iter(running)
        assert next(lines) == b"on"
        transport.cut()
        with pytest.raises(LinkLost, match="phone went away"):
            next(lines)
    with pytest.raises(LinkLost, match="phone went away"):
        device.shell(["true"])
