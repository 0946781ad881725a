"""The cost model's promises: more never costs less, overlap only hides, the curve's own points come back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashneuron.profile.cost_model import ComputeTimes, LayerReads, TokenCost, at, read_cost, token_cost
from flashneuron.profile.flash_curve import CurvePoint


def curve() -> list[CurvePoint]:
    """A read costs 100 µs and 1 µs a KiB, divided by the threads up to 8; 5 µs of the processor."""
    sizes, threads = [4096 << i for i in range(8)], [1, 2, 4, 8, 16]
    return [
        CurvePoint(
            read_bytes=size, threads=count, reads=1000, cpu_us=5000, wall_us=round(1000 * us(size) / min(count, 8))
        )
        for size in sizes
        for count in threads
    ]


def us(size: float) -> float:
    return 100 + size / 1024


POINTS = curve()
COMPUTE = ComputeTimes(2000, 400, 1000, 100, 500, 100, threads=2)


def cost(reads: LayerReads, overlap: bool = True, cores: int = 8, compute: ComputeTimes = COMPUTE) -> TokenCost:
    return token_cost([reads] * 4, compute, POINTS, 8, overlap, cores)


@pytest.mark.parametrize("point", POINTS[::7])
def test_the_curves_own_points_come_back(point: CurvePoint) -> None:
    assert at(POINTS, point.read_bytes, point.threads, "us_per_read") == pytest.approx(point.us_per_read)


def test_between_points_a_value_lies_between_theirs_and_beyond_the_largest_size_bytes_count() -> None:
    assert us(4096) > at(POINTS, 6000, 1.5, "us_per_read") > us(8192) / 2
    largest = POINTS[-1].read_bytes
    assert at(POINTS, 3 * largest, 1, "us_per_read") == pytest.approx(3 * us(largest))
    assert at(POINTS, 100, 1, "us_per_read") == pytest.approx(us(4096))


def test_nothing_to_read_is_computing_alone() -> None:
    free = cost(LayerReads(0, 0, 0, 0))
    assert free.stall_us == free.io_us == 0
    assert free.wall_us == free.compute_us == COMPUTE.total_us == 4100
    assert free.tokens_per_s == pytest.approx(1e6 / 4100)


READS = st.builds(LayerReads, *[st.floats(0, 200), st.floats(0, 4e6)] * 2)


@settings(deadline=None)
@given(READS, st.booleans())
def test_overlap_only_hides_and_the_parts_add_up(reads: LayerReads, overlap: bool) -> None:
    found = cost(reads, overlap)
    assert 0 <= found.stall_us <= found.io_us + 1e-6
    assert found.wall_us >= found.compute_us + found.stall_us - 1e-6
    assert cost(reads, True).stall_us <= cost(reads, False).stall_us


@settings(deadline=None)
@given(st.floats(0, 300), st.floats(1, 2), st.floats(4096, 65536))
def test_more_reads_never_cost_less(requests: float, more: float, size: float) -> None:
    fewer, _ = read_cost(POINTS, requests, requests * size, 8, 2)
    assert fewer <= 1.01 * read_cost(POINTS, more * requests, more * requests * size, 8, 2)[0] + 1e-6


def test_a_short_burst_wakes_a_worker_a_core_and_a_long_one_all() -> None:
    size = 4096
    for reads, awake in ((1, 1), (2, 2), (8, 2), (32, 4), (64, 8), (500, 8)):
        wall, processor = read_cost(POINTS, reads, reads * size, 8, 2)
        assert wall == pytest.approx(reads * us(size) / awake + 20, rel=1e-3)
        assert processor == pytest.approx(5 * reads)


def test_compute_threads_that_have_every_core_give_a_share_to_reads() -> None:
    reads = LayerReads(60, 60 * 4096, 60, 60 * 4096)
    roomy, tight = cost(reads, cores=8), cost(reads, cores=2)
    assert roomy.given_us == 0
    assert tight.given_us == pytest.approx(0.4 * 4 * 120 * 5)
    assert tight.wall_us == pytest.approx(tight.compute_us + tight.stall_us + tight.given_us)
