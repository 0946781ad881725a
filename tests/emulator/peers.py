"""Clients of adb that others wrote, and ours, each as five operations on a device: what a peer has to get right."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from adb_server import AdbServer

from flashneuron.device.adb import AdbDevice, tcp_device
from flashneuron.device.adb_server import ServerDevice
from flashneuron.device.multiplex import Multiplexer
from flashneuron.device.transport import RepairedTcpTransport
from flashneuron.device.wire import Wire

OPERATIONS = ("push", "pull", "list", "run", "exit code")


@dataclass(frozen=True)
class Peer:
    """Each function raises, or gives back what the operation found."""

    push: Callable[[Path, PurePosixPath], object]
    pull: Callable[[PurePosixPath, Path], object]
    names: Callable[[PurePosixPath], set[str]]
    output: Callable[[str], str]
    exit_code: Callable[[str], int]


def try_all(peer: Peer, base: PurePosixPath, folder: Path, content: bytes) -> dict[str, bool]:
    """What works, by operation. `base`: a folder of the device that may be written to."""
    source, back = folder / "source", folder / "back"
    source.write_bytes(content)
    found = dict[str, bool]()
    peer.push(source, base / "pushed")
    found["push"] = peer.output(f"wc -c < {base}/pushed").split() == [str(len(content))]
    peer.pull(base / "pushed", back)
    found["pull"] = back.read_bytes() == content
    found["list"] = "pushed" in peer.names(base)
    found["run"] = peer.output("echo $((6 * 7))").strip() == "42"
    found["exit code"] = (peer.exit_code("(exit 7)"), peer.exit_code("true")) == (7, 0)
    return found


def google_adb(server: AdbServer, serial: str) -> Peer:
    def run(*words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return server.run("-s", serial, *words, check=check)

    return Peer(
        push=lambda local, remote: run("push", str(local), str(remote)),
        pull=lambda remote, local: run("pull", str(remote), str(local)),
        names=lambda remote: {line.split()[-1] for line in run("ls", str(remote)).stdout.decode().splitlines()},
        output=lambda command: run("shell", command).stdout.decode(),
        exit_code=lambda command: run("shell", command, check=False).returncode,
    )


def adbutils_client(server: AdbServer, serial: str) -> Peer:
    import adbutils

    device = adbutils.AdbClient(*server.address).device(serial)
    return Peer(
        push=lambda local, remote: device.sync.push(local, str(remote)),
        pull=lambda remote, local: device.sync.pull(str(remote), local),
        names=lambda remote: {each.path for each in device.sync.list(str(remote))},
        output=lambda command: str(device.shell(command)),
        exit_code=lambda command: int(device.shell2(command).returncode),
    )


def adb_shell_client(port: int) -> Peer:
    """As it ships, it has no exit codes: they go by the output, as its users do it."""
    from adb_shell.adb_device import AdbDeviceTcp

    device = AdbDeviceTcp("127.0.0.1", port)
    device.connect()
    return Peer(
        push=lambda local, remote: device.push(str(local), str(remote)),
        pull=lambda remote, local: device.pull(str(remote), str(local)),
        names=lambda remote: {each.filename.decode() for each in device.list(str(remote))},
        output=lambda command: str(device.shell(command)),
        exit_code=lambda command: int(device.shell(f"{{ {command}; }}; echo $?").split()[-1]),
    )


def ours(device: AdbDevice) -> Peer:
    def exit_code(command: str) -> int:
        return device.shell(["sh", "-c", command]).exit_code

    return Peer(
        push=lambda local, remote: device.push(local, remote),
        pull=lambda remote, local: device.pull(remote, local),
        names=lambda remote: set(device.shell(["ls", "-A", str(remote)]).text.split()),
        output=lambda command: device.shell(["sh", "-c", command]).text,
        exit_code=exit_code,
    )


@contextmanager
def our_client(way: str, port: int, server: AdbServer | None = None) -> Iterator[Peer]:
    """`way`: TCP, multiplexed (as over USB), or server."""
    serial = f"127.0.0.1:{port}"
    if way == "TCP":
        yield ours(tcp_device("127.0.0.1", port))
    elif way == "multiplexed":
        shared = Multiplexer(Wire(RepairedTcpTransport("127.0.0.1", port), serial), serial)
        yield ours(AdbDevice(serial, shared.connect))
        shared.close()
    else:
        assert server is not None
        yield ours(AdbDevice(serial, ServerDevice(serial, server.address).connect))


def newer_adb() -> Path:
    """Google's adb that adbutils carries."""
    import adbutils

    return Path(adbutils.__file__).parent / "binaries" / "adb"


def older_adb() -> Path:
    """Debian's. Raises FileNotFoundError where it is not installed."""
    found = shutil.which("adb")
    if found is None:
        raise FileNotFoundError("adb is not installed: apt-get install adb")
    return Path(found)
