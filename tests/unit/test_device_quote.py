"""Any text reaches a program on the device's shell unchanged."""

import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flashneuron.device.quote import MAX_COMMAND_BYTES, guard, quote, quote_argv
from flashneuron.errors import DeviceError

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=60)
SHELLS = [shell for shell in ("sh", "dash", "bash", "mksh") if shutil.which(shell)]
NASTY = st.lists(st.sampled_from([*"'\"\\$`\n\t !#&*?[]{}()<>|;~=-%😀é", "$(id)", "a=b"]), max_size=12).map("".join)


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=60, deadline=None)
@given(arguments=st.lists(TEXT | NASTY, min_size=1, max_size=5))
@example(arguments=["", "-n", "a=b", "it's", "$HOME `id`", "line\nline\n", "😀", "\\", "!!"])
def test_a_shell_passes_quoted_arguments_on_exactly(shell: str, arguments: list[str]) -> None:
    command = quote_argv(["printf", "%s\\0", *arguments])
    output = subprocess.run([shell, "-c", command], capture_output=True, check=True).stdout
    assert output == "".join(argument + "\0" for argument in arguments).encode()


def test_plain_words_stay_readable() -> None:
    assert quote("io_threads=8") == "io_threads=8"
    assert quote("/data/local/tmp/x-1.bin") == "/data/local/tmp/x-1.bin"
    assert quote("") == "''"


def test_stdin_comes_from_the_file_named(tmp_path: Path) -> None:
    source = tmp_path / "it's a $file"
    source.write_text("7 8 9")
    command = quote_argv(["cat"], PurePosixPath(source))
    assert subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout == b"7 8 9"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["echo", "a\0b"], "NUL"),
        (["echo", "\udcff"], "UTF-8"),
        ([], "program"),
        (["-c"], "program"),
        (["echo", "x" * MAX_COMMAND_BYTES], "by a file"),
    ],
)
def test_what_no_shell_could_take_is_refused(argv: list[str], says: str) -> None:
    with pytest.raises(DeviceError, match=says):
        quote_argv(argv)


@settings(max_examples=60, deadline=None)
@given(TEXT)
def test_a_guarded_command_is_the_command(text: str) -> None:
    command = quote_argv(["printf", "%s|", text, "it's"])
    done = subprocess.run(["sh", "-c", guard(command)], capture_output=True, check=True)
    assert done.stdout == f"{text}|it's|".encode()


@pytest.mark.parametrize("shell", SHELLS)
def test_no_flipped_bit_makes_another_command_of_it_or_a_success_of_nothing(shell: str, tmp_path: Path) -> None:
    sent = guard(quote_argv(["printf", "a b"])).encode()
    for place in range(8 * len(sent)):
        flipped = bytearray(sent)
        flipped[place // 8] ^= 1 << place % 8
        done = subprocess.run(
            [shell, "-c", bytes(flipped)], capture_output=True, cwd=tmp_path, stdin=subprocess.DEVNULL
        )
        assert (done.stdout, done.returncode) == (b"a b", 0) or (done.stdout != b"a b" and done.returncode), flipped
    assert all(path.stat().st_size == 0 for path in tmp_path.iterdir())  # a flipped quote may name a file to write to
