"""Fitting one layer's predictor: the structure that is there is found, and the recall asked for is reached."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from flashneuron.model.ffn import Ffn
from flashneuron.predictor.evaluate import agreement
from flashneuron.predictor.fit import choose_rank, layer_cost, rank_ladder, refine, regress, threshold_for
from flashneuron.predictor.lowrank import LowRank
from flashneuron.predictor.settings import PredictorSettings

WIDTH, NEURONS = 32, 96


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ffn_of(up: torch.Tensor, bias: float = -1.0) -> Ffn:
    return Ffn(up, torch.full((len(up),), bias), randn(up.shape[1], len(up), seed=9), torch.zeros(up.shape[1]))


def full_ffn() -> Ffn:
    return ffn_of(randn(NEURONS, WIDTH) / WIDTH**0.5)


def inputs(tokens: int = 4000, seed: int = 1) -> torch.Tensor:
    """Most of the variance lies in few directions, and the mean is not 0: as FFN inputs are."""
    mix = randn(WIDTH, WIDTH, seed=5) * torch.logspace(0.5, -1.5, WIDTH)[:, None]
    return randn(tokens, WIDTH, seed=seed) @ mix + randn(WIDTH, seed=6)


def density_at(predictor: LowRank, ffn: Ffn, recall: float = 0.99) -> float:
    return threshold_for(predictor, ffn, inputs(seed=2), recall)[1]


def test_a_low_rank_up_is_predicted_exactly() -> None:
    ffn = ffn_of(randn(NEURONS, 4) @ randn(4, WIDTH, seed=3) / WIDTH**0.5)
    seen = agreement(regress(ffn, inputs()).at(4), ffn, inputs(seed=2))
    assert seen.recall > 0.999
    assert seen.precision > 0.999


def test_inputs_of_few_directions_are_enough() -> None:
    """A full-rank `up` needs no more than the inputs have."""
    ffn, basis = full_ffn(), randn(6, WIDTH, seed=3)
    x, other = randn(4000, 6, seed=4) @ basis, randn(500, 6, seed=7) @ basis
    seen = agreement(regress(ffn, x).at(6), ffn, other)
    assert min(seen.recall, seen.precision) > 0.999


def test_the_text_s_directions_beat_the_weights_alone() -> None:
    ffn = full_ffn()
    left, values, right = torch.linalg.svd(ffn.up)
    blind = LowRank(right[:8], left[:, :8] * values[:8], ffn.up_bias)
    assert density_at(regress(ffn, inputs()).at(8), ffn) < 0.8 * density_at(blind, ffn)


def test_higher_ranks_select_less() -> None:
    ffn = full_ffn()
    regression = regress(ffn, inputs())
    densities = [density_at(regression.at(rank), ffn) for rank in (2, 4, 8, 16, 32)]
    assert densities == sorted(densities, reverse=True)
    fires = agreement(regression.at(32), ffn, inputs(seed=2)).true_density
    assert densities[-1] == pytest.approx(0.99 * fires, rel=0.02)


def test_refinement_lowers_the_loss_and_the_density() -> None:
    """Of inputs that are not normal: for normal ones the regression is the best there is."""
    ffn, tokens = full_ffn(), 20_000
    x, other = (randn(tokens, WIDTH, seed=seed) ** 3 for seed in (1, 2))
    start = regress(ffn, x).at(12)
    refined = refine(start, ffn, x, PredictorSettings(batch_tokens=256))

    def loss(predictor: LowRank) -> float:
        fires, weight = ffn.active(other).float(), torch.tensor(PredictorSettings().positive_weight)
        return float(functional.binary_cross_entropy_with_logits(predictor.logits(other), fires, pos_weight=weight))

    assert loss(refined) < 0.97 * loss(start)
    densities = [threshold_for(predictor, ffn, other, 0.99)[1] for predictor in (refined, start)]
    assert densities[0] < densities[1]


def test_what_no_linear_test_decides_is_regressed_on_firing_itself() -> None:
    plain = ffn_of(randn(NEURONS, 4) @ randn(4, WIDTH, seed=3) / WIDTH**0.5, bias=0.0)
    ffn = replace(plain, gate=plain.up + 0.3 * plain.up.roll(1, 0), activation="drelu")
    x, other = randn(6000, WIDTH, seed=1), randn(3000, WIDTH, seed=2)
    fires = agreement(regress(ffn, x).at(4), ffn, other).true_density
    start = regress(ffn, x).at(4)
    density = threshold_for(start, ffn, other, 0.95)[1]
    assert density < 1.35 * fires
    assert density < 0.9 * threshold_for(LowRank(start.a, randn(NEURONS, 4, seed=8), start.bias), ffn, other, 0.95)[1]


class Opaque(Ffn):
    """Does not say which rows decide."""

    def linear_test(self) -> None:
        return None


def test_regression_on_firing_is_near_that_on_the_rows_that_decide() -> None:
    plain, x, other = full_ffn(), randn(6000, WIDTH, seed=1), randn(3000, WIDTH, seed=2)
    opaque = Opaque(plain.up, plain.up_bias, plain.down, plain.down_bias)
    known, guessed = (threshold_for(regress(ffn, x).at(16), plain, other, 0.95)[1] for ffn in (plain, opaque))
    assert known < guessed < 1.15 * known


def test_no_steps_leave_the_regression() -> None:
    ffn = full_ffn()
    start = regress(ffn, inputs()).at(6)
    assert torch.equal(refine(start, ffn, inputs(), PredictorSettings(steps=0)).b, start.b)


@settings(max_examples=40, deadline=None)
@given(recall=st.floats(0.05, 0.999), rank=st.integers(1, 16), tokens=st.integers(1, 400))
def test_the_threshold_is_the_highest_that_reaches_the_recall(recall: float, rank: int, tokens: int) -> None:
    ffn, x = full_ffn(), inputs(tokens, seed=8)
    predictor = regress(ffn, inputs(500)).at(rank)
    threshold, density = threshold_for(predictor, ffn, x, recall)
    seen = agreement(predictor.shifted(threshold), ffn, x)
    slack = 3 / max(1, seen.firing)  # logits in rounding's reach of the threshold
    assert seen.recall >= recall - slack
    assert seen.recall <= recall + slack
    assert seen.predicted_density == pytest.approx(density, abs=3 / seen.pairs)


@settings(max_examples=20, deadline=None)
@given(recalls=st.lists(st.floats(0.05, 0.999), min_size=2, max_size=5))
def test_more_recall_selects_more(recalls: list[float]) -> None:
    ffn = full_ffn()
    predictor = regress(ffn, inputs(500)).at(6)
    densities = [threshold_for(predictor, ffn, inputs(300, seed=8), recall)[1] for recall in sorted(recalls)]
    assert densities == sorted(densities)


def test_a_layer_that_never_fires_selects_nothing() -> None:
    ffn = ffn_of(randn(NEURONS, WIDTH), bias=-1e4)
    predictor = regress(ffn, inputs()).at(4)
    threshold, density = threshold_for(predictor, ffn, inputs(), 0.99)
    assert density == 0
    assert not predictor.shifted(threshold + 1e-3).selects(inputs()).any()
    assert agreement(predictor.shifted(threshold + 1e-3), ffn, inputs()).recall == 1


def test_the_rank_chosen_costs_least_of_the_ladder() -> None:
    ffn = full_ffn()
    regression, x = regress(ffn, inputs()), inputs(seed=2)
    costs = {
        rank: layer_cost(ffn, rank, threshold_for(regression.at(rank), ffn, x, 0.99)[1]) for rank in rank_ladder(WIDTH)
    }
    assert choose_rank(regression, ffn, x, 0.99) == min(costs, key=lambda rank: costs[rank])


@pytest.mark.parametrize(("width", "ranks"), [(64, [8, 12, 16, 24, 32]), (12, [6]), (1, [1])])
def test_the_ladder_ends_at_half_the_width(width: int, ranks: list[int]) -> None:
    assert rank_ladder(width) == ranks


def test_fp16_files_hold_every_rank() -> None:
    """A full rank leaves no error to scale by, and a direction of no variance none to divide by."""
    ffn = full_ffn()
    x = inputs()
    x[:, 3] = 0.5
    stored = regress(ffn, x).at(WIDTH).rounded("fp16")
    assert all(torch.isfinite(tensor).all() for tensor in (stored.a, stored.b, stored.bias))
