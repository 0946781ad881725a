"""The host device behaves as a phone does: exit codes, separate stderr, streams that end, atomic pulls."""

from pathlib import Path, PurePosixPath

import pytest

from flashneuron.device.host import HostDevice
from flashneuron.errors import DeviceError


@pytest.fixture
def host(tmp_path: Path) -> HostDevice:
    return HostDevice(tmp_path / "device")


def test_output_errors_and_exit_code_come_apart(host: HostDevice) -> None:
    result = host.shell(["sh", "-c", "printf out; printf err >&2; exit 7"])
    assert (result.stdout, result.stderr, result.exit_code) == (b"out", b"err", 7)


def test_a_signal_shows_in_the_exit_code(host: HostDevice) -> None:
    assert host.shell(["sh", "-c", "kill -9 $$"]).exit_code == 137


def test_a_missing_program_is_a_result(host: HostDevice) -> None:
    assert host.shell(["no-such-program"]).exit_code == 127


def test_a_command_that_takes_too_long_is_an_error(host: HostDevice) -> None:
    with pytest.raises(DeviceError, match=r"did not end within 0\.05 s"):
        host.shell(["sleep", "60"], timeout_s=0.05)


def test_a_stream_gives_lines_then_the_exit_code(host: HostDevice) -> None:
    with host.stream(["sh", "-c", "echo one; echo; printf three; echo oops >&2; exit 3"]) as running:
        assert list(running) == [b"one", b"", b"three"]
        assert running.exit_code == 3
        assert running.stderr == b"oops\n"


def test_leaving_a_stream_kills_its_command(host: HostDevice) -> None:
    with host.stream(["sh", "-c", "echo $$; exec sleep 600"]) as running:
        pid = next(iter(running)).decode()
    assert host.shell(["kill", "-0", pid]).exit_code != 0


def test_files_go_there_and_back(host: HostDevice, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(bytes(range(256)) * 100)
    source.chmod(0o755)
    counted: list[float] = []
    remote = host.root / "deep" / "er" / "file"
    host.push(source, remote, counted.append)
    host.pull(remote, back)
    assert back.read_bytes() == source.read_bytes()
    assert sum(counted) == 25600
    assert Path(remote).stat().st_mode & 0o100


def test_a_failed_pull_leaves_nothing(host: HostDevice, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="No such file"):
        host.pull(PurePosixPath("/no/such/file"), tmp_path / "back")
    assert list(tmp_path.iterdir()) == []
