"""One pass over random tokens: what the synthetic model really does, and the table of its predictors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn.functional import cosine_similarity

from flashneuron.export.texts import Ids
from flashneuron.model.capture import Capture
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.predictor.lowrank import LowRank
from flashneuron.predictor.settings import LayerRow
from flashneuron.progress import Progress
from flashneuron.synth import draws
from flashneuron.synth.statistics import SIMILARITY_LAYERS, Sparsity, layer_sparsity, mean_sparsity
from flashneuron.synth.tokenizer import FIRST_WORD, SPECIALS

BENCHMARK_TOKENS, CALIBRATION_TOKENS = 256, 160


@dataclass(frozen=True)
class Measured:
    sparsity: Sparsity
    rows: list[LayerRow]


def random_ids(vocab_size: int, seed: int, name: str, count: int) -> Ids:
    """`count` different ids (as many as there are), none of the tokenizer's specials and bytes where there are more."""
    first = FIRST_WORD if vocab_size >= FIRST_WORD + count else len(SPECIALS)
    order = np.argsort(draws.integers(seed, f"ids {name}", vocab_size - first), kind="stable")
    return (order[:count] + first).astype(np.int64)


def calibration_ids(spec: ModelSpec, seed: int) -> Ids:
    """One sequence, after the prompt prefix."""
    count = min(CALIBRATION_TOKENS, spec.max_context - len(spec.prompt_prefix_ids))
    return np.concatenate(
        [np.array(spec.prompt_prefix_ids, np.int64), random_ids(spec.vocab_size, seed, "calibration", count)]
    )


def measure(
    spec: ModelSpec, weights: Weights, predictor: Callable[[int], LowRank], ids: Ids, progress: Progress
) -> Measured:
    """Each layer computes the neurons that its predictor selects, as the runtime does."""
    layers, rows, inputs, cosines = list[Sparsity](), list[LayerRow](), list[Tensor](), list[float]()
    with progress.step("measuring sparsity", spec.layers, "layers") as advance:
        for layer in Capture(spec, weights, [ids]).layers(lambda index, x: predictor(index).selects(x)):
            x, chosen = layer.ffn_input[0 : len(ids)].clone(), predictor(layer.index)
            selected, fires = chosen.selects(x).numpy(), layer.ffn.active(x.to(layer.ffn.up.device)).cpu().numpy()
            found = layer_sparsity(selected, fires)
            layers.append(found)
            rows.append(_row(layer.index, chosen.rank, found, int((selected & fires).sum()), int(selected.sum())))
            inputs = [*inputs[-SIMILARITY_LAYERS:], x]
            if len(inputs) > SIMILARITY_LAYERS:
                cosines.append(float(cosine_similarity(x, inputs[0]).mean()))
            advance(1)
    whole = mean_sparsity(layers)
    similarity = float(np.mean(cosines)) if cosines else None
    return Measured(Sparsity(**{**whole.__dict__, "similarity": similarity}), rows)


def _row(layer: int, rank: int, found: Sparsity, right: int, selected: int) -> LayerRow:
    return LayerRow(
        layer=layer,
        rank=rank,
        true_density=found.firing or 0.0,
        predicted_density=found.predicted,
        recall=1.0 if found.recall is None else found.recall,
        precision=right / selected if selected else 1.0,
        calibration_density=found.predicted,
    )
