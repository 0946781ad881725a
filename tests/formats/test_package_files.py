"""What is written reads back, for any shape; property tests of the binary files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flashneuron.errors import PackageError
from flashneuron.package.elements import decode, encode_floats, encode_int8, pack_int4
from flashneuron.package.ffn_file import (
    HEADER_BYTES,
    MAX_SHARD_BYTES,
    FfnGeometry,
    FfnShard,
    Part,
    neurons_per_shard,
    write_shard,
)
from flashneuron.package.layout import DTYPE_CODES, DType, numpy_dtype, row_bytes, row_scales
from flashneuron.package.neuron_lists import inverse, read_frequency, read_places, write_frequency, write_places
from flashneuron.package.predictor_file import LowRankPredictor, predictor_bytes, read_predictor, write_predictor

dtypes = st.sampled_from(list(DTYPE_CODES))
floats = st.sampled_from(["fp32", "fp16"])
sizes = st.integers(1, 70)


@settings(max_examples=60, deadline=None)
@given(
    part=st.sampled_from(Part), gated=st.booleans(), dtype=dtypes, hidden=sizes, ffn=sizes, per_shard=sizes,
    seed=st.integers(0, 99),
)  # fmt: skip
def test_shards_read_back(
    part: Part, gated: bool, dtype: DType, hidden: int, ffn: int, per_shard: int, seed: int
) -> None:
    geometry = FfnGeometry(part, dtype, hidden, ffn, per_shard, part.rows(gated))
    shape = (ffn, geometry.record_bytes // numpy_dtype(dtype).itemsize)
    values = np.random.default_rng(seed).integers(0, 100, shape).astype(numpy_dtype(dtype))
    covered: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(geometry.shard_count):
            path = Path(folder) / str(number)
            write_shard(path, geometry, 3, number, lambda a, b: values[a:b])
            shard = FfnShard.open(path)
            assert (shard.layer, shard.shard, shard.geometry) == (3, number, geometry)
            neurons = geometry.neurons(number)
            expected = values[neurons.start : neurons.stop]
            assert np.array_equal(shard.records(), expected)
            content = path.read_bytes()
            for record in range(len(neurons)):
                at = HEADER_BYTES + record * geometry.stride
                assert content[at : at + geometry.record_bytes] == expected[record].tobytes()
                assert not any(content[at + geometry.record_bytes : at + geometry.stride])
            covered += neurons
    assert covered == list(range(ffn))
    assert geometry.stride % 64 == 0
    assert 0 <= geometry.stride - geometry.record_bytes < 64


@given(
    part=st.sampled_from(Part), gated=st.booleans(), dtype=dtypes, hidden=st.integers(1, 1 << 16),
    ffn=st.integers(1, 1 << 20),
)  # fmt: skip
def test_shards_are_as_large_as_allowed(part: Part, gated: bool, dtype: DType, hidden: int, ffn: int) -> None:
    rows = part.rows(gated)
    geometry = FfnGeometry(part, dtype, hidden, ffn, neurons_per_shard(rows, dtype, hidden, ffn), rows)
    assert geometry.shard_bytes(0) <= MAX_SHARD_BYTES
    assert geometry.shard_count == 1 or geometry.shard_bytes(0) + geometry.stride > MAX_SHARD_BYTES


@settings(max_examples=60, deadline=None)
@given(dtype=floats, hidden=sizes, ffn=sizes, rank=st.integers(1, 9), seed=st.integers(0, 99))
def test_predictors_read_back(dtype: DType, hidden: int, ffn: int, rank: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    bias, a, b = (random.standard_normal(shape, np.float32) for shape in ((ffn,), (rank, hidden), (ffn, rank)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p"
        write_predictor(path, LowRankPredictor(5, bias, a, b), dtype)
        read = read_predictor(path)
        assert path.stat().st_size == predictor_bytes(hidden, ffn, rank, dtype)
    assert read.layer == 5
    assert np.array_equal(read.bias, bias)
    assert np.array_equal(read.a, a.astype(numpy_dtype(dtype)))
    assert np.array_equal(read.b, b.astype(numpy_dtype(dtype)))


@settings(max_examples=30, deadline=None)
@given(hidden=sizes, ffn=sizes, rank=st.integers(1, 9), seed=st.integers(0, 99))
def test_int8_predictors_read_back_within_half_a_step(hidden: int, ffn: int, rank: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    bias, a, b = (random.standard_normal(shape, np.float32) for shape in ((ffn,), (rank, hidden), (ffn, rank)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p"
        write_predictor(path, LowRankPredictor(5, bias, a, b), "int8")
        read = read_predictor(path)
        assert path.stat().st_size == predictor_bytes(hidden, ffn, rank, "int8")
    assert np.array_equal(read.bias, bias)
    for stored, exact in ((read.a, a), (read.b, b)):
        step = np.abs(exact).max(axis=1, keepdims=True) / 127
        assert (np.abs(stored - exact) <= 0.501 * step).all()


@given(values=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_bf16_is_the_nearest_even(values: list[float]) -> None:
    exact = np.array(values, np.float32)
    stored = decode(encode_floats(exact, "bf16"), None, "bf16", len(values))
    expected = torch.tensor(values, dtype=torch.float32).bfloat16().float().numpy()
    assert np.array_equal(stored, expected)


@given(count=st.integers(1, 300), rows=st.integers(1, 5), seed=st.integers(0, 99))
def test_integers_decode_to_element_times_scale(count: int, rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    nibbles = random.integers(0, 16, (rows, count)).astype(np.uint8)
    scales = random.standard_normal((rows, row_scales("int4", count))).astype("<f2")
    packed = pack_int4(nibbles)
    assert packed.shape == (rows, row_bytes("int4", count))
    decoded = decode(packed, scales, "int4", count)
    for row in range(rows):
        for i in range(count):
            assert decoded[row, i] == (int(nibbles[row, i]) - 8) * np.float32(scales[row, i // 128])
            assert int(packed[row, i // 2]) >> (4 * (i % 2)) & 15 == nibbles[row, i]
    values = random.standard_normal((rows, count)).astype(np.float32)
    stored, each = encode_int8(values)
    assert np.array_equal(decode(stored, each, "int8", count), stored.astype(np.float32) * each[:, None])


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 51), value=st.integers(0, 255))
def test_any_changed_header_byte_is_refused_or_consistent(at: int, value: int) -> None:
    """A header byte decides a size, a place or an identity; only `layer` can change without contradiction."""
    geometry = FfnGeometry(Part.UP, "fp16", 8, 6, 4, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        write_shard(path, geometry, 0, 1, lambda a, b: np.zeros((b - a, 8), np.float32))
        content = bytearray(path.read_bytes())
        content[at] = value
        path.write_bytes(content)
        try:
            shard = FfnShard.open(path)
        except PackageError:
            return
        shard.records()
        assert geometry.header(shard.layer, 1)[:12] == bytes(content[:12])


def test_an_interrupted_shard_leaves_no_file(tmp_path: Path) -> None:
    def rows(a: int, b: int) -> np.ndarray:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "s", FfnGeometry(Part.UP, "fp16", 8, 6, 6, 1), 0, 0, rows)
    assert list(tmp_path.iterdir()) == []


def test_values_beyond_fp16_are_refused(tmp_path: Path) -> None:
    big = LowRankPredictor(0, np.zeros(2, np.float32), np.full((1, 2), 1e6, np.float32), np.zeros((2, 1), np.float32))
    with pytest.raises(ValueError, match="fp16 cannot hold"):
        write_predictor(tmp_path / "p", big, "fp16")
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=60, deadline=None)
@given(ffn=sizes, seed=st.integers(0, 99))
def test_neuron_lists_read_back(ffn: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    places, frequency = random.permutation(ffn), random.random(ffn)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list"
        write_places(path, places)
        assert path.stat().st_size == 4 * ffn
        assert np.array_equal(read_places(path), places)
        write_frequency(path, frequency)
        assert np.array_equal(read_frequency(path), frequency.astype(np.float32))
    assert np.array_equal(places[inverse(places)], np.arange(ffn))


def test_lists_that_are_none_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="permutation"):
        write_places(tmp_path / "p", np.array([0, 2]))
    with pytest.raises(ValueError, match="shares"):
        write_frequency(tmp_path / "p", np.array([0.5, np.nan]))
    assert list(tmp_path.iterdir()) == []
