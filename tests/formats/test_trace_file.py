"""trace.bin: what is written is read again, by FORMAT.md's bytes; what is damaged is refused by name."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashneuron.errors import PackageError
from flashneuron.package.trace_file import read_trace, row_bytes, sample_tokens, writing_trace


def write(path: Path, layers: list[tuple[np.ndarray, ...]]) -> None:
    with writing_trace(path, len(layers), layers[0][0].shape[1]) as trace:
        for layer in layers:
            trace.add(*layer)


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 130), st.integers(1, 5), st.booleans(), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, layers: int, neurons: int, tokens: int, both: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    drawn = [tuple(random.random((tokens, neurons)) < 0.3 for _ in range(1 + both)) for _ in range(layers)]
    path = tmp_path_factory.mktemp("trace") / "trace.bin"
    write(path, drawn)
    trace = read_trace(path)
    assert (trace.layers, trace.tokens, trace.ffn_size) == (layers, tokens, neurons)
    for index, kinds in enumerate(drawn):
        for kind, expected in enumerate(kinds):
            assert np.array_equal(trace.selected(index, kind), expected)


def test_the_bytes_are_those_of_the_format(tmp_path: Path) -> None:
    selected = np.zeros((2, 70), bool)
    selected[0, [0, 9]] = selected[1, 69] = True
    write(tmp_path / "trace.bin", [(selected,)])
    header = struct.pack("<8s5I", b"FNTRACE\1", 64, 1, 70, 2, 1).ljust(64, b"\0")
    tokens = struct.pack("<4Q", 1 << 0 | 1 << 9, 0, 0, 1 << 5)
    assert (tmp_path / "trace.bin").read_bytes() == header + tokens
    assert not list(tmp_path.glob("*.part"))


def test_a_trace_keeps_the_last_tokens_that_fit(tmp_path: Path) -> None:
    assert sample_tokens(6, 1024) == 512
    assert 1 <= sample_tokens(32, 16384) < 512
    selected = np.zeros((600, 8), bool)
    selected[-1, 3] = True
    write(tmp_path / "trace.bin", [(selected,)])
    trace = read_trace(tmp_path / "trace.bin")
    assert trace.tokens == 512
    assert trace.selected(0)[-1, 3]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b[:20], "is cut off"),
        (lambda b: b"X" + b[1:], "not an activation trace"),
        (lambda b: b[:7] + b"\2" + b[8:], "newer than 1"),
        (lambda b: b[:12] + bytes(4) + b[16:], "out of range"),
        (lambda b: b[:24] + b"\3" + b[25:], "out of range"),
        (lambda b: b[:40] + b"\1" + b[41:], "wrong version or header"),
        (lambda b: b[:-1], "its header needs"),
        (lambda b: b[:-1] + b"\x80", "a neuron that the model does not have"),
    ],
)
def test_damage_is_refused_by_name(tmp_path: Path, change: object, says: str) -> None:
    path = tmp_path / "trace.bin"
    write(path, [(np.ones((1, 10), bool),)])
    assert row_bytes(10) == 8
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(PackageError, match=says):
        read_trace(path)
    with pytest.raises(PackageError, match=r"cannot be read"):
        read_trace(tmp_path / "none")
