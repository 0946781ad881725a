"""The order pass: which neurons lie beside each other on flash, from the selections of calibration tokens (pure).

A read costs a request, not bytes, so what counts is how many reads fetch the neurons that a token misses. The cache
holds what the last tokens selected; of a token's selection only the rest is read: its new neurons. Two neurons that
lie side by side save a read in each token to which both are new, and the order of a layer is a Hamiltonian path through
its neurons, so the best one has the largest sum, over neighbours, of tokens to which both are new. That is the path of
Ripple (arXiv 2410.19274) over 1 - P(i, j), with P of new neurons instead of all selected ones: neurons that nearly
every token selects lie in the cache and would only crowd the others out.

The longest path is not computable at this size; greedily, pairs are joined by falling count as long as the result
stays a set of paths (no third neighbour, no ring). Only the NEIGHBOURS best partners of each neuron are pairs, found in
blocks of rows of the sparse product of the selections with themselves, so that memory holds no F × F. No neuron is
duplicated. Paths that nothing joins follow each other, the busiest first, then neurons that were never new.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

Array = np.ndarray[Any, Any]

WINDOW = 4  # tokens whose selections are taken to be cached
NEIGHBOURS = 24
MAX_PAIRS = 2**27  # of new neurons in one token, summed over the tokens that are looked at: bounds the time
BLOCK_CELLS = 2**24  # of the product at a time: bounds the memory
CHUNK = 4096  # pairs that are sifted at once


def coactivation_order(selections: Array) -> Array:
    """places, u32 [F], of bool [tokens, F] in the order of the text. Deterministic."""
    new = newly_needed(selections)
    weights = new.sum(axis=0, dtype=np.int64)
    active = np.flatnonzero(weights)
    neurons = active[_path(*_pairs(_affordable(new[:, active])), weights[active])]
    order = np.concatenate([neurons, np.flatnonzero(weights == 0)])
    places = np.empty(len(order), np.uint32)
    places[order] = np.arange(len(order), dtype=np.uint32)
    return places


def newly_needed(selections: Array, window: int = WINDOW) -> Array:
    """Of bool [tokens, F]: what each token selects and none of the `window` tokens before it."""
    new = selections.copy()
    for back in range(1, min(window + 1, len(selections))):
        new[back:] &= ~selections[:-back]
    return new


def run_length(new: Array, places: Array | None = None) -> float:
    """Mean length of the runs of neighbours in bool [tokens, F], by place (None: by index); 1 if there are none."""
    if places is not None:
        moved = np.empty_like(new)
        moved[:, places] = new
        new = moved
    runs = np.count_nonzero(new[:, 0]) + np.count_nonzero(new[:, 1:] & ~new[:, :-1])
    return float(np.count_nonzero(new) / runs) if runs else 1.0


def _affordable(new: Array) -> Array:
    """As many tokens, from everywhere, as have MAX_PAIRS pairs together."""
    pairs = int((new.sum(axis=1, dtype=np.int64) ** 2).sum())
    return new[:: max(1, -(-pairs // MAX_PAIRS))]


def _pairs(new: Array) -> tuple[Array, Array]:
    """(pairs [n, 2], their counts [n]), the best first: pairs of neurons that are new to the same tokens."""
    matrix = sparse.csr_array(new, dtype=np.int32)
    transposed = sparse.csr_array(matrix.T)
    count, found = new.shape[1], list[tuple[Array, Array, Array]]()
    kept = min(NEIGHBOURS, count - 1)
    if kept < 1:
        return np.empty((0, 2), np.int64), np.empty(0)
    step = max(1, BLOCK_CELLS // count)
    for first in range(0, count, step):
        together = (transposed[first : first + step] @ matrix).toarray().astype(np.uint16)
        rows = np.arange(len(together))
        together[rows, first + rows] = 0
        best = np.argpartition(together, count - kept, axis=1)[:, count - kept :]
        counts = np.take_along_axis(together, best, axis=1)
        row, column = np.nonzero(counts)
        found.append((first + row, best[row, column], counts[row, column]))
    left, right, counts = (np.concatenate(parts) for parts in zip(*found, strict=True))
    low, high = np.minimum(left, right), np.maximum(left, right)
    _, unique = np.unique(low * count + high, return_index=True)
    low, high, counts = low[unique], high[unique], counts[unique].astype(np.float64)
    weights = new.sum(axis=0, dtype=np.int64)
    # Among equals, those that are rarer apart.
    falling = np.lexsort((weights[low] + weights[high], -counts))
    return np.stack([low, high], axis=1)[falling], counts[falling]


def _path(pairs: Array, counts: Array, weights: Array) -> Array:
    """All neurons, [len(weights)], in order of a path that joins `pairs` greedily."""
    size = len(weights)
    links = np.full((size, 2), -1, np.int64)
    degree = np.zeros(size, np.int64)
    other_end = np.arange(size)  # of the path that a neuron ends; means nothing inside a path
    for first in range(0, len(counts), CHUNK):
        chunk = pairs[first : first + CHUNK]
        left, right = chunk[:, 0], chunk[:, 1]
        open_ = (degree[left] < 2) & (degree[right] < 2) & (other_end[left] != right)
        for a, b in chunk[open_].tolist():
            if degree[a] == 2 or degree[b] == 2 or other_end[a] == b:
                continue
            links[a, degree[a]], links[b, degree[b]] = b, a
            degree[a] += 1
            degree[b] += 1
            far_a, far_b = other_end[a], other_end[b]
            other_end[far_a], other_end[far_b] = far_b, far_a
    return _walk(links, degree, other_end, weights)


def _walk(links: Array, degree: Array, other_end: Array, weights: Array) -> Array:
    """The paths one after the other, by falling mean weight."""
    neighbours: list[list[int]] = links.tolist()
    paths = list[list[int]]()
    for end in np.flatnonzero(degree < 2).tolist():
        if other_end[end] < end:
            continue  # walked from its other end
        path, before, here = [end], -1, end
        while (after := next((n for n in neighbours[here] if n not in (-1, before)), -1)) != -1:
            path.append(after)
            before, here = here, after
        paths.append(path)
    paths.sort(key=lambda path: -float(weights[path].mean()))
    return np.array([neuron for path in paths for neuron in path], np.int64)
