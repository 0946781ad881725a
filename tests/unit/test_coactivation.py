"""The order pass: a permutation, neighbours that are needed together, and the same again for the same text."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flashneuron.export.coactivation import coactivation_order, newly_needed, run_length
from flashneuron.export.usage import order_and_measure


def grouped(tokens: int, groups: int, size: int, seed: int = 0) -> np.ndarray:
    """Neurons in groups that fire as one, spread over the layer; each token selects two groups."""
    random = np.random.default_rng(seed)
    member = random.permutation(np.repeat(np.arange(groups), size))
    return np.array([np.isin(member, random.choice(groups, 2, replace=False)) for _ in range(tokens)])


@settings(max_examples=60, deadline=None)
@given(tokens=st.integers(1, 30), neurons=st.integers(1, 40), density=st.floats(0, 1), seed=st.integers(0, 99))
def test_any_selections_give_a_permutation(tokens: int, neurons: int, density: float, seed: int) -> None:
    selections = np.random.default_rng(seed).random((tokens, neurons)) < density
    places = coactivation_order(selections)
    assert np.array_equal(np.sort(places), np.arange(neurons))
    assert np.array_equal(places, coactivation_order(selections))


def test_neurons_that_fire_together_lie_together() -> None:
    selections = grouped(tokens=200, groups=30, size=8)
    places, lengths = order_and_measure(selections)
    assert lengths["run_length_before"] < 1.3
    assert lengths["run_length_after"] >= 8
    member_places = np.sort(places[selections[0]])
    assert np.count_nonzero(np.diff(member_places) > 1) <= 1, "two groups are at most two runs"


def test_neurons_that_are_always_there_do_not_stand_between() -> None:
    """Half of the neurons are selected by every token: they are in the cache and never read."""
    selections = np.concatenate([np.ones((200, 240), bool), grouped(tokens=200, groups=30, size=8)], axis=1)
    selections = selections[:, np.random.default_rng(1).permutation(480)]
    assert order_and_measure(selections)[1]["run_length_after"] >= 8


def test_newly_needed_is_what_the_window_does_not_hold() -> None:
    selections = np.random.default_rng(0).random((50, 20)) < 0.3
    new = newly_needed(selections, 3)
    for token in range(50):
        held = selections[max(0, token - 3) : token].any(axis=0)
        assert np.array_equal(new[token], selections[token] & ~held)


def test_run_length_counts_neighbours() -> None:
    new = np.array([[1, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0], [1, 0, 1, 0, 1, 1]], bool)
    assert run_length(new) == 7 / 5
    assert run_length(new, np.array([0, 2, 4, 1, 3, 5])) == 7 / 3
    assert run_length(np.zeros((3, 4), bool)) == 1.0
