"""Packets and the trailer of old shells: what goes in comes out, and nothing else is taken for one."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashneuron.device import packets
from flashneuron.device.shell_frames import EXIT, STDERR, STDOUT
from flashneuron.device.shell_trailer import TrailerDecoder, wrap

COMMANDS = st.sampled_from([packets.CNXN, packets.AUTH, packets.OPEN, packets.OKAY, packets.WRTE, packets.CLSE])
WORDS = st.integers(0, (1 << 32) - 1)


@given(COMMANDS, WORDS, WORDS, st.binary(max_size=300), st.booleans())
def test_a_header_comes_back(command: bytes, arg0: int, arg1: int, data: bytes, summed: bool) -> None:
    header = packets.parse_header(packets.pack_header(command, arg0, arg1, data, summed))
    assert header == packets.Header(command, arg0, arg1, len(data), sum(data) if summed else 0)


@given(st.binary(min_size=packets.HEADER_BYTES, max_size=packets.HEADER_BYTES))
def test_other_bytes_are_no_header(noise: bytes) -> None:
    with pytest.raises(ValueError, match="not a packet"):
        packets.parse_header(noise)


@pytest.mark.parametrize(
    ("banner", "features"),
    [
        (b"device::ro.product.name=x;features=shell_v2,stat_v2\0", {"shell_v2", "stat_v2"}),
        (b"device::features=cmd", {"cmd"}),
        (b"device::ro.product.name=x;", set()),
        (b"device::features=;x=features", set()),
        (b"", set()),
        (b"\xff\xfe", set()),
    ],
)
def test_features_of_a_banner(banner: bytes, features: set[str]) -> None:
    assert packets.features_of(banner) == features


def decode(mark: str, output: bytes, cuts: list[int]) -> tuple[bytes, bytes, list[int]]:
    decoder, parts = TrailerDecoder(mark), list[tuple[int, bytes]]()
    for cut in [*cuts, len(output)]:
        parts += decoder.feed(output[:cut])
        output = output[cut:]
    joined = {kind: b"".join(data for each, data in parts if each == kind) for kind in (STDOUT, STDERR)}
    return joined[STDOUT], joined[STDERR], [data[0] for kind, data in parts if kind == EXIT]


@given(
    st.binary(max_size=60) | st.lists(st.sampled_from([b"\n", b"mark", b"\nmar", b"x"])).map(b"".join),
    st.binary(max_size=30),
    st.integers(0, 255),
    st.lists(st.integers(1, 9)),
)
def test_a_trailer_is_found_however_it_is_chopped(out: bytes, err: bytes, code: int, cuts: list[int]) -> None:
    mark = "mark-7f3a"
    output = out + f"{mark}\n".encode() + err + f"{mark} {code}\n".encode()
    assert decode(mark, output, cuts) == (out, err, [code])


def test_a_line_does_not_wait_for_the_next() -> None:
    assert list(TrailerDecoder("mark").feed(b"line\n")) == [(STDOUT, b"line\n")]


def test_an_exit_code_that_is_no_number_is_a_failure() -> None:
    assert decode("mark", b"outmark\nerrmark *7\n", []) == (b"out", b"err", [255])


def test_a_shell_prints_the_trailer(tmp_path: object) -> None:
    command = wrap("printf out; printf err >&2; exit 7", "mark").replace("/data/local/tmp", str(tmp_path))
    printed = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
    assert decode("mark", printed.stdout, []) == (b"out", b"err", [7])
    assert printed.stderr == b""
