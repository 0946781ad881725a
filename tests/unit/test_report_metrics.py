"""Medians, quartiles, parts and grouping, against numbers worked out by hand."""

import pytest
from runs import EMULATED, HOST, MIB, make_run

from flashneuron.profile.run_file import Counters, Predicted, Run
from flashneuron.report.metrics import decode, facts, hit_rate, limits_text, lines, parts_us, points, spread
from flashneuron.report.prediction import choices, error, prediction_line

ZERO = dict.fromkeys(Counters.model_fields, 0)


def token(**values: int) -> Counters:
    return Counters.model_validate(ZERO | values)


def test_spread_of_one_to_five() -> None:
    found = spread([5, 1, 4, 2, 3])
    assert (found.median, found.low, found.high, found.count) == (3, 2, 4, 5)


def test_quartiles_are_interpolated() -> None:
    found = spread([0, 10])
    assert (found.median, found.low, found.high) == (5, 2.5, 7.5)


def test_parts_are_means_and_the_rest_is_other() -> None:
    found = parts_us([token(wall_us=100, stall_us=40, ffn_us=20), token(wall_us=200, stall_us=60, head_us=100)])
    assert found == {"stall": 50, "memory": 0, "predictor": 0, "attention": 0, "ffn": 10, "head": 50, "other": 40}
    assert sum(found.values()) == 150


def test_other_is_never_below_zero() -> None:
    assert parts_us([token(wall_us=10, ffn_us=12)])["other"] == 0


def test_hit_rate_is_over_neurons_not_tokens() -> None:
    assert hit_rate([token(hits=1, misses=9, selected=10), token(hits=90, selected=90)]) == 0.91
    assert hit_rate([token()]) is None


def test_decode_of_a_run_leaves_out_what_the_prefill_gave() -> None:
    run = make_run(wall_us=1000, bytes_read=8192)  # 5 tokens, 4 of them decoded: 1010, 1020, 1030 and 1040 us
    found = decode(run.decoded)
    assert found is not None
    assert found.latency_us.count == 4
    assert found.latency_us.median == 1025
    assert found.tokens_per_s == 4e6 / 4100
    assert (found.bytes_read, found.bytes_wanted, found.requests, found.hit_rate) == (8192, 4096, 1, 0.75)
    assert abs(sum(found.parts_us.values()) - 1025) < 1e-9


def test_repeats_make_one_point_and_budgets_one_line() -> None:
    runs = [make_run(ram * MIB, repeat) for repeat in (0, 1) for ram in (30, 24)]
    found = points(runs)
    assert [(point.ram_bytes // MIB, len(point.runs), point.decode.latency_us.count) for point in found] == [
        (24, 2, 8),
        (30, 2, 8),
    ]
    assert list(lines(found)) == [""]


def test_what_differs_tells_lines_apart() -> None:
    found = points([make_run(window=2), make_run(window=4), make_run(40 * MIB, window=4)])
    assert {label: len(line) for label, line in lines(found).items()} == {"window 2": 1, "window 4": 2}


def test_an_open_window_is_the_same_thing_at_every_budget() -> None:
    assert facts(make_run(24 * MIB))["window"] == "auto"
    assert facts(make_run(24 * MIB, window=7))["window"] == "7"


def test_devices_and_their_limits_are_never_mixed() -> None:
    limited = {
        **EMULATED,
        "emulated": {"profile": "test-phone", "limits": [{"name": "ram", "value": 1, "enforced": True}]},
    }
    assert len(points([make_run(), make_run(conditions=HOST), make_run(conditions=limited)])) == 3


def test_limits_say_which_hold_and_why_not() -> None:
    limits = [
        {"name": "ram", "value": 2 << 30, "enforced": True, "note": "memory.max"},
        {"name": "flash_read_bandwidth", "value": 512 * MIB, "enforced": True, "note": "io.max"},
        {"name": "flash_read_iops", "value": 25000, "enforced": False, "note": "no io controller"},
    ]
    held = "enforced: ram 2.00 GiB, flash read bandwidth 512 MiB/s"
    assert limits_text({"limits": limits}) == f"{held}; not enforced: flash read iops 25,000/s (no io controller)"
    assert limits_text({}) == "it tells of no limits"
    cores = {"name": "cores", "value": 8, "enforced": False, "note": "this machine has 2"}
    assert limits_text({"limits": [cores]}) == "not enforced: cores 8 (this machine has 2)"


def test_ladder_steps_come_in_their_order_after_the_budgets() -> None:
    found = points([make_run(step="+ window"), make_run(step="naive"), make_run(), make_run(step="hybrid")])
    assert [point.ladder_step for point in found] == [None, "naive", "hybrid", "+ window"]


def predicted_run(ram: int, wall_us: int, predicted_us: float, window: int = 4) -> Run:
    said = Predicted(
        wall_us=predicted_us, stall_us=0, compute_us=1, requests=1, bytes_read=1, hit_rate=1, basis="DRAM bandwidth"
    )
    return make_run(ram, wall_us=wall_us, window=window).model_copy(update={"predicted": said})


def test_predictions_are_held_against_measurements() -> None:
    runs = [predicted_run(24 * MIB, 1000, 1224), predicted_run(28 * MIB, 500, 520), make_run(30 * MIB, wall_us=400)]
    found = points(runs)
    measured = [point.decode.latency_us.median for point in found]
    assert error(found[0]) == pytest.approx(1224 / measured[0] - 1)
    assert error(found[2]) is None
    line = prediction_line(found)
    assert line is not None
    assert "of 2 points" in line
    assert "the predictions chose" not in line
    assert prediction_line(found[2:]) is None


def test_what_the_predictions_choose_is_held_against_the_best() -> None:
    runs = [
        predicted_run(24 * MIB, 1200, 900, 2),
        predicted_run(24 * MIB, 1000, 950, 4),
        predicted_run(28 * MIB, 500, 600),
    ]
    (choice,) = choices(points(runs))
    assert choice.recommended.facts["window"] == "2"
    assert choice.best.facts["window"] == "4"
    assert choice.regret == pytest.approx(0.19, abs=0.02)
    assert f"at most {choice.regret:.0%} slower than the best (1 budgets)" in str(prediction_line(points(runs)))
