"""Sparsity from selections, against a slow and plain way of counting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashneuron.synth.statistics import PUBLISHED, WINDOW, Sparsity, layer_sparsity, mean_sparsity, run_length

Bools = np.ndarray[Any, np.dtype[np.bool_]]


@st.composite
def selections(draw: st.DrawFn, count: int = 1) -> list[Bools]:
    tokens, neurons = draw(st.integers(1, 9)), draw(st.integers(1, 12))
    bits = st.lists(st.booleans(), min_size=tokens * neurons, max_size=tokens * neurons)
    return [np.array(draw(bits)).reshape(tokens, neurons) for _ in range(count)]


@given(selections(2))
def test_shares_are_those_of_sets(pair: list[Bools]) -> None:
    selected, fires = pair
    found = layer_sparsity(selected, fires)
    sets = [set(np.flatnonzero(row)) for row in selected]
    neurons = selected.shape[1]
    assert found.predicted == pytest.approx(sum(map(len, sets)) / (len(sets) * neurons))
    assert found.firing == pytest.approx(sum(map(sum, fires.tolist())) / fires.size)
    kept = sum(len(a & set(np.flatnonzero(b))) for a, b in zip(sets, fires, strict=True))
    assert found.recall == (pytest.approx(kept / fires.sum()) if fires.any() else None)
    spans = [sets[end - WINDOW : end + 1] for end in range(WINDOW, len(sets))]
    if not spans:
        assert found.union is found.new is None
        return
    assert found.union == pytest.approx(np.mean([len(set().union(*span)) for span in spans]) / neurons)
    new = [len(span[-1] - set().union(*span[:-1])) for span in spans]
    assert found.new == pytest.approx(np.mean(new) / neurons)


@given(selections(), st.randoms())
def test_run_length_counts_neighbours(one: list[Bools], random: Any) -> None:
    (selected,) = one
    runs = sum("".join("x" if bit else " " for bit in row).split().__len__() for row in selected)
    assert run_length(selected) == (pytest.approx(selected.sum() / runs) if runs else None)
    order = list(range(selected.shape[1]))
    random.shuffle(order)
    assert layer_sparsity(selected, order=np.array(order)).ordered_run_length == run_length(selected[:, order])


@given(selections())
def test_selections_are_not_changed(one: list[Bools]) -> None:
    before = one[0].copy()
    layer_sparsity(one[0], one[0])
    assert (one[0] == before).all()


def test_means_leave_out_what_a_layer_lacks() -> None:
    lone = Sparsity(predicted=0.5, firing=None, recall=None, union=None, new=None, run_length=2.0)
    mean = mean_sparsity([lone, PUBLISHED])
    assert mean.predicted == pytest.approx(0.3)
    assert (mean.firing, mean.union, mean.new) == (0.033, 0.24, 0.024)
    assert mean.run_length == pytest.approx(1.53)
