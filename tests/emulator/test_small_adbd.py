"""The small adbd says what the real one says; and what that lacks: keys, peers of old, refusals, a full disk."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from adb_script import converse, converse_in_packets, push, shell

from flashneuron.device.adb import AdbDevice, tcp_device
from flashneuron.device.phones import RunningPhone
from flashneuron.device.tcp_link import TcpLink, connect_tcp
from flashneuron.device.transport import RepairedTcpTransport
from flashneuron.device.wire import Timeouts, Wire
from flashneuron.emulator.adbd import LEGACY, MODERN, Variant, small_adbd
from flashneuron.errors import DeviceError


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


def test_it_shakes_hands_and_takes_stray_packets_as_the_real_one_does(phone: RunningPhone, tmp_path: Path) -> None:
    with small_adbd(tmp_path) as port:
        small = converse_in_packets(port)
    assert small == converse_in_packets(phone.port)


def test_it_refuses_to_write_where_nothing_can_be_written_as_the_real_one_does(
    phone: RunningPhone, tmp_path: Path
) -> None:
    def refusal(port: int, path: PurePosixPath) -> str:
        with pytest.raises(DeviceError) as caught:
            push(lambda: connect_tcp("127.0.0.1", port, "device"), path, b"x" * 70_000)
        return str(caught.value).replace(str(path), "PATH")

    with small_adbd(tmp_path, Variant(read_only=True)) as port:
        small = refusal(port, PurePosixPath(tmp_path / "x"))
    assert small == refusal(phone.port, PurePosixPath("/system/x"))


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


def connect_with(key: Path | None, port: int, timeouts: Timeouts | None = None) -> TcpLink:
    from adb_shell.auth.sign_pythonrsa import PythonRSASigner

    signers = [PythonRSASigner.FromRSAKeyPath(str(key))] if key else []
    return TcpLink(Wire(RepairedTcpTransport("127.0.0.1", port), "phone", lambda: signers, timeouts), "phone")


def test_a_known_key_is_let_in_and_a_confirmed_one_too(tmp_path: Path) -> None:
    key = key_of(tmp_path)
    for auth in ("known", "confirmed"):
        with small_adbd(tmp_path, Variant(auth=auth), key) as port:  # type: ignore[arg-type]
            assert shell(lambda port=port: connect_with(key, port), "echo in")[0] == b"in\n"


def test_a_refused_key_is_one_clear_line(tmp_path: Path) -> None:
    key = key_of(tmp_path)
    says = r"^phone does not accept this computer's adb key; confirm it on the phone's screen$"
    with small_adbd(tmp_path, Variant(auth="refused"), key) as port:
        for own in (key, None):
            with pytest.raises(DeviceError, match=says):
                connect_with(own, port)


def test_a_key_that_nobody_confirms_is_one_clear_line(tmp_path: Path) -> None:
    key = key_of(tmp_path)
    says = r"^phone wants this computer's key confirmed on its screen; confirm it and run the command again$"
    with small_adbd(tmp_path, Variant(auth="unanswered")) as port, pytest.raises(DeviceError, match=says):
        connect_with(key, port, Timeouts(authorise=0.05))


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
