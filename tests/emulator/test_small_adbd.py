"""The small adbd says what the real one says; and what that lacks: keys, peers of old, refusals, a full disk."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from adb_script import converse, shell

from flashneuron.device.adb import AdbDevice, tcp_device
from flashneuron.device.phones import RunningPhone
from flashneuron.device.tcp_link import TcpLink, connect_tcp
from flashneuron.device.transport import RepairedTcpTransport
from flashneuron.device.wire import Wire
from flashneuron.emulator.adbd import LEGACY, MODERN, Variant, small_adbd
from flashneuron.errors import DeviceError, LinkLost


def test_it_says_what_the_real_one_says(phone: RunningPhone, tmp_path: Path) -> None:
    base = PurePosixPath("/data/local/tmp/converse")
    device = tcp_device("127.0.0.1", phone.port)
    device.shell(["rm", "-rf", str(base)])
    device.shell(["mkdir", str(base)])
    real = converse(lambda: connect_tcp("127.0.0.1", phone.port, "device"), base)
    tmp_path.chmod(0o775)
    with small_adbd(tmp_path) as port:
        small = converse(lambda: connect_tcp("127.0.0.1", port, "device"), PurePosixPath(tmp_path))
    assert [what for what, _ in small] == [what for what, _ in real]
    for (what, ours), (_, theirs) in zip(small, real, strict=True):
        assert ours == theirs, what


@pytest.mark.parametrize("variant", [MODERN, LEGACY, Variant(features=("shell_v2",), max_data=8192)])
def test_our_client_works_with_every_kind(variant: Variant, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(bytes(range(256)) * 1000)
    with small_adbd(tmp_path, variant) as port:
        device = tcp_device("127.0.0.1", port)
        device.push(source, PurePosixPath(tmp_path / "there" / "file"))
        device.pull(PurePosixPath(tmp_path / "there" / "file"), back)
        assert back.read_bytes() == source.read_bytes()
        if "shell_v2" in variant.features:  # without, the command's errors go by a file of Android's
            result = device.shell(["sh", "-c", "printf out; printf err >&2; exit 7"])
            assert (result.stdout, result.stderr, result.exit_code) == (b"out", b"err", 7)


def key_of(folder: Path) -> Path:
    from adb_shell.auth.keygen import keygen

    keygen(str(folder / "adbkey"))
    return folder / "adbkey"


def connect_with(key: Path | None, port: int) -> TcpLink:
    from adb_shell.auth.sign_pythonrsa import PythonRSASigner

    signers = [PythonRSASigner.FromRSAKeyPath(str(key))] if key else []
    return TcpLink(Wire(RepairedTcpTransport("127.0.0.1", port), "phone", lambda: signers), "phone")


def test_a_known_key_is_let_in_and_a_confirmed_one_too(tmp_path: Path) -> None:
    key = key_of(tmp_path)
    for auth in ("known", "confirmed"):
        with small_adbd(tmp_path, Variant(auth=auth), key) as port:  # type: ignore[arg-type]
            assert shell(lambda port=port: connect_with(key, port), "echo in")[0] == b"in\n"


def test_a_refused_key_is_one_clear_line(tmp_path: Path) -> None:
    key = key_of(tmp_path)
    with small_adbd(tmp_path, Variant(auth="refused"), key) as port:
        with pytest.raises(LinkLost, match="phone went away"):
            connect_with(key, port)
        with pytest.raises(
            DeviceError, match="does not accept this computer's adb key; confirm it on the phone's screen"
        ):
            connect_with(None, port)


def test_what_a_device_cannot_do_is_said_in_its_words(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(1_000_000))
    target = PurePosixPath(tmp_path / "target")

    def push(variant: Variant) -> None:
        with small_adbd(tmp_path, variant) as port:
            tcp_device("127.0.0.1", port).push(source, target)

    with pytest.raises(DeviceError, match=r"cannot write .*/target on the device: .*No space left on device"):
        push(Variant(full_after=300_000))
    assert not Path(target).exists()
    with pytest.raises(DeviceError, match="Read-only file system"):
        push(Variant(read_only=True))
    with pytest.raises(DeviceError, match="refuses the service sync"):
        push(Variant(refused=frozenset({"sync"})))
    with small_adbd(tmp_path, Variant(refused=frozenset({"shell"}))) as port:
        device: AdbDevice = tcp_device("127.0.0.1", port)
        with pytest.raises(DeviceError, match="refuses the service shell"):
            device.shell(["true"])
