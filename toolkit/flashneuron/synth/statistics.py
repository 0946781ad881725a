"""How sparse a model is and how its sparsity moves from token to token, from which neurons were selected. Pure, numpy.

The same function measures a calibration pass and what a runtime selected, so that both may stand in one table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

Selections = np.ndarray[Any, np.dtype[np.bool_]]  # [tokens, neurons] of one layer, tokens in order

WINDOW = 4  # tokens whose neurons stay in DRAM


@dataclass(frozen=True)
class Sparsity:
    """Shares are of a layer's neurons; means over layers and tokens. None: not measured, or nothing to measure on."""

    predicted: float  # selected per token
    firing: float | None  # truly active per token
    recall: float | None  # of the truly active, selected
    union: float | None  # selected by any of WINDOW + 1 tokens in a row
    new: float | None  # selected, and by none of the WINDOW tokens before
    run_length: float | None  # selected neurons that lie side by side in the given order
    ordered_run_length: float | None = None  # the same after an order pass
    similarity: float | None = None  # cosine of FFN inputs SIMILARITY_LAYERS apart


SIMILARITY_LAYERS = 4

# OPT-6.7B: "LLM in a flash" (arXiv 2312.11514), run lengths from Ripple (2410.19274), similarity from ActiveFlow
# (2504.08378: over 0.95).
PUBLISHED = Sparsity(
    predicted=0.10,
    firing=0.033,
    recall=0.95,
    union=0.24,
    new=0.024,
    run_length=1.06,
    ordered_run_length=3.12,
    similarity=0.95,
)


def layer_sparsity(
    selected: Selections, fires: Selections | None = None, order: np.ndarray[Any, Any] | None = None
) -> Sparsity:
    """Of one layer. `order`: neurons as an order pass lays them (neuron at each place). Needs a token."""
    new, union = _window(selected)
    firing = None if fires is None else float(fires.mean())
    return Sparsity(
        predicted=float(selected.mean()),
        firing=firing,
        recall=float((fires & selected).sum() / fires.sum()) if fires is not None and firing else None,
        union=union,
        new=new,
        run_length=run_length(selected),
        ordered_run_length=None if order is None else run_length(selected[:, order]),
    )


def mean_sparsity(layers: Iterable[Sparsity]) -> Sparsity:
    """Over layers that have the figure. Needs a layer."""
    found = [asdict(layer) for layer in layers]
    columns = {
        field.name: [row[field.name] for row in found if row[field.name] is not None] for field in fields(Sparsity)
    }
    means: dict[str, Any] = {name: float(np.mean(values)) if values else None for name, values in columns.items()}
    return Sparsity(**means)


def run_length(selected: Selections) -> float | None:
    """Selected neurons over runs of neighbours, of all tokens together."""
    starts = selected.copy()
    starts[:, 1:] &= ~selected[:, :-1]
    runs = int(starts.sum())
    return int(selected.sum()) / runs if runs else None


def _window(selected: Selections) -> tuple[float | None, float | None]:
    """(new, union), over the tokens that have a whole window before them."""
    if len(selected) <= WINDOW:
        return None, None
    last = selected[WINDOW:]
    before = np.zeros_like(last)
    for back in range(1, WINDOW + 1):
        before |= selected[WINDOW - back : len(selected) - back]
    return float((last & ~before).mean()), float((last | before).mean())
