"""adb against the real adbd: what a command prints and returns, what a file holds, what a refusal says."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flashneuron.device.adb import AdbDevice
from flashneuron.device.discover import open_device
from flashneuron.device.info import conditions
from flashneuron.device.phones import RunningPhone
from flashneuron.errors import DeviceError

TMP = PurePosixPath("/data/local/tmp")
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40)


def test_output_errors_and_exit_code_come_apart(device: AdbDevice) -> None:
    result = device.shell(["sh", "-c", "printf out; printf err >&2; exit 7"])
    assert (result.stdout, result.stderr, result.exit_code) == (b"out", b"err", 7)


def test_commands_run_as_the_shell_user_on_a_read_only_system(device: AdbDevice) -> None:
    assert device.shell(["id", "-u"]).text.strip() == "2000"
    assert device.shell(["touch", "/system/bin/x"]).exit_code != 0
    assert device.shell(["touch", "/x"]).exit_code != 0


def test_a_signal_shows_in_the_exit_code(device: AdbDevice) -> None:
    assert device.shell(["sh", "-c", "kill -9 $$"]).exit_code == 137


def test_much_output_arrives_whole(device: AdbDevice) -> None:
    assert device.shell(["head", "-c", "5000000", "/dev/zero"]).stdout == bytes(5_000_000)


def test_a_silent_command_is_waited_for_and_a_slow_one_is_not(device: AdbDevice) -> None:
    with pytest.raises(DeviceError, match=r"no answer|did not end"):
        device.shell(["sleep", "60"], timeout_s=0.2)
    assert device.shell(["sleep", "0.5"], timeout_s=60).exit_code == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=st.lists(TEXT, min_size=1, max_size=4))
@example(arguments=["", "-n", "a=b", "it's", "$HOME `id`", "line\nline\n", "😀", "\\", "!!", "~", "*"])
def test_arguments_pass_mksh_unchanged(device: AdbDevice, arguments: list[str]) -> None:
    result = device.shell(["printf", "%s\\0", *arguments])
    assert result.stdout == "".join(argument + "\0" for argument in arguments).encode()


def test_a_stream_gives_lines_as_they_come(device: AdbDevice) -> None:
    fifo = TMP / "fifo"
    device.shell(["mkfifo", str(fifo)])
    with device.stream(["sh", "-c", f"echo first; read line < {fifo}; echo $line; echo oops >&2; exit 3"]) as running:
        lines = iter(running)
        assert next(lines) == b"first"  # while the command still waits
        device.shell(["sh", "-c", f"echo second > {fifo}"])
        assert list(lines) == [b"second"]
        assert (running.exit_code, running.stderr) == (3, b"oops\n")


def test_leaving_a_stream_kills_the_command_and_its_children(device: AdbDevice) -> None:
    with device.stream(["sh", "-c", "sleep 1234 & echo started; wait"]) as running:
        assert next(iter(running)) == b"started"
        running.kill()
        list(running)
        assert running.exit_code == 137
    assert b"sleep 1234" not in device.shell(["ps", "-A", "-o", "ARGS"]).stdout


def test_a_big_file_goes_there_and_back(device: AdbDevice, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(os.urandom(1_000_003) * 70)
    counted: list[float] = []
    remote = TMP / "it's a $big file"
    device.push(source, remote, counted.append)
    device.pull(remote, back)
    device.shell(["rm", str(remote)])
    assert back.read_bytes() == source.read_bytes()
    assert sum(counted) == source.stat().st_size


def test_stdin_comes_from_a_file_of_the_device(device: AdbDevice) -> None:
    device.write(b"1 2 3\n", TMP / "ids")
    assert device.shell(["cat"], stdin=TMP / "ids").stdout == b"1 2 3\n"
    with device.stream(["cat"], stdin=TMP / "ids") as running:
        assert list(running) == [b"1 2 3"]


def test_a_refused_push_says_the_devices_reason(device: AdbDevice, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(10_000_000))
    with pytest.raises(DeviceError, match=r"/system/x.*(Read-only|Permission denied)"):
        device.push(source, PurePosixPath("/system/x"))


def test_a_failed_pull_leaves_nothing(device: AdbDevice, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"/no/such/file.*No such file"):
        device.pull(PurePosixPath("/no/such/file"), tmp_path / "back")
    assert list(tmp_path.iterdir()) == []


def test_conditions_say_that_it_is_emulated_and_what_is_enforced(phone: RunningPhone) -> None:
    facts = conditions(open_device(phone.device))
    assert facts["model"] == "Entry 4 GB"
    assert facts["ram_total_bytes"] == 4 << 30
    assert facts["battery"]["level_percent"] == 100
    assert facts["thermal"]["status"] == "none"
    assert facts["storage_free_bytes"] > 0
    assert facts["emulated"]["profile"] == phone.profile
    assert facts["emulated"]["limits"] == phone.limits
