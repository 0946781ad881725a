"""The cost model's promises: more never costs less, overlap only hides, the curve's own points come back."""

from __future__ import annotations

import pytest
from curves import bursts
from hypothesis import given, settings
from hypothesis import strategies as st

from flashneuron.profile.cost_model import NO_READS, ComputeTimes, LayerReads, Platform, Reads, TokenCost, token_cost
from flashneuron.profile.flash_curve import BurstPoint, CurvePoint
from flashneuron.profile.read_costs import ReadCosts


def steady() -> list[CurvePoint]:
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


POINTS, BURSTS = steady(), bursts(wall_us=150)
COSTS = ReadCosts(POINTS, BURSTS)
COMPUTE = ComputeTimes(2000, 400, 1000, 100, 500, 100, threads=2)
FREE = LayerReads(NO_READS, NO_READS)


def cost(layer: LayerReads, overlap: bool = True, embedding: Reads = NO_READS, costs: ReadCosts = COSTS) -> TokenCost:
    return token_cost(embedding, [layer] * 4, COMPUTE, Platform(costs, 8, 2), overlap)


@pytest.mark.parametrize("point", POINTS[::7])
def test_the_curves_own_points_come_back(point: CurvePoint) -> None:
    assert COSTS.steady_us(point.read_bytes, point.threads) == pytest.approx(point.us_per_read)


@pytest.mark.parametrize("burst", BURSTS)
def test_bursts_that_were_measured_come_back(burst: BurstPoint) -> None:
    found = COSTS.burst(burst.reads, burst.read_bytes, burst.read_bytes, burst.threads)
    assert found.wall == pytest.approx(burst.wall_us)
    assert found.lost == pytest.approx(burst.lost_us)


def test_between_points_a_value_lies_between_theirs_and_beyond_the_largest_size_bytes_count() -> None:
    assert us(4096) > COSTS.steady_us(6000, 1.5) > us(8192) / 2
    largest = POINTS[-1].read_bytes
    assert COSTS.steady_us(3 * largest, 1) == pytest.approx(3 * us(largest))
    assert COSTS.steady_us(100, 1) == pytest.approx(us(4096))


def test_a_burst_beyond_what_was_measured_costs_what_reads_cost_steadily() -> None:
    most, size = 64, 65536
    assert COSTS.burst(2 * most, size, size, 8).wall == pytest.approx(150 * 8 + most * us(size) / 8)
    assert COSTS.burst(2 * most, size, size, 8).lost == pytest.approx(10 * 2 * most)
    longer = COSTS.burst(8, 2 * size, 2 * size, 8).wall
    assert longer == pytest.approx(150 + 8 * size / 1024 / 8)


def test_the_longest_read_of_a_burst_is_waited_for() -> None:
    even, uneven = (COSTS.burst(8, 16384, longest, 8).wall for longest in (16384, 65536))
    assert uneven - even == pytest.approx(48)
    assert COSTS.burst(0.5, 4096, 4096, 8).wall == pytest.approx(75)
    assert COSTS.burst(0, 4096, 4096, 8) == (0, 0)


def test_nothing_to_read_is_computing_alone() -> None:
    free = cost(FREE)
    assert free.stall_us == free.io_us == free.given_us == 0
    assert free.wall_us == free.compute_us == COMPUTE.total_us == 4100
    assert free.tokens_per_s == pytest.approx(1e6 / 4100)


def test_what_is_read_before_the_first_layer_is_waited_for() -> None:
    row = Reads(rounds=1, requests=1, bytes_read=4096, longest_bytes=4096)
    assert cost(FREE, embedding=row).stall_us == pytest.approx(150)


def test_reads_that_computing_hides_take_from_it_what_the_probe_has_measured() -> None:
    early = Reads(rounds=1, requests=8, bytes_read=8 * 4096, longest_bytes=4096)
    hidden = cost(LayerReads(NO_READS, early))
    assert hidden.stall_us == 0
    assert hidden.given_us == pytest.approx(3 * 80)  # of layer 0 nothing is known early
    waited = cost(LayerReads(NO_READS, early), overlap=False)
    assert waited.stall_us == pytest.approx(3 * 150)


def test_no_token_is_faster_than_its_bytes_steadily() -> None:
    throttled = [p.model_copy(update={"wall_us": 100 * p.wall_us}) for p in POINTS]
    reads = LayerReads(Reads(1, 8, 8 * 4096, 4096), NO_READS)
    found = cost(reads, costs=ReadCosts(throttled, BURSTS))
    assert found.wall_us == pytest.approx(4 * 8 * 100 * us(4096) / 8)


def some_reads(rounds: float, requests: float, size: float, uneven: float) -> Reads:
    count = max(rounds, requests)
    return Reads(rounds, count, count * size, size * uneven) if rounds else NO_READS


READS = st.builds(some_reads, st.floats(0.1, 4), st.floats(0.1, 200), st.floats(4096, 200_000), st.floats(1, 8))
LAYERS = st.builds(LayerReads, st.just(NO_READS) | READS, st.just(NO_READS) | READS)


@settings(deadline=None)
@given(LAYERS, st.booleans())
def test_the_parts_add_up(layer: LayerReads, overlap: bool) -> None:
    found = cost(layer, overlap)
    assert 0 <= found.stall_us <= found.io_us + 1e-6
    assert found.wall_us == pytest.approx(found.compute_us + found.stall_us + found.given_us)


@settings(deadline=None)
@given(st.floats(0, 300), st.floats(1, 2), st.floats(4096, 65536), st.sampled_from([1, 4, 8, 32]))
def test_more_reads_never_cost_less(requests: float, more: float, size: float, threads: int) -> None:
    fewer = COSTS.burst(requests, size, size, threads).wall
    assert fewer <= 1.01 * COSTS.burst(more * requests, size, size, threads).wall + 1e-6
