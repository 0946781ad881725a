"""Fits one layer's low-rank predictor to the FFN inputs of a text. Pure: tensors in, tensors out.

1. **Regression.** What decides whether a neuron fires is linear in x (its up row, or its gate's), so the best rank-r
   estimate in mean square *over the text's inputs* is known in closed form. With C = L·Lᵀ the covariance of x, R those
   rows and D one over each neuron's spread (rows weigh alike), truncate the singular value decomposition of D·R·L. One
   decomposition serves every rank. Where two products or a two-sided threshold decide, "fires" itself (±½) is what is
   estimated: its covariance with x stands for R·C. Logits are in units of each neuron's remaining error, so that one
   threshold suits all neurons.
2. **Choice of rank.** Every rank reaches every recall by its threshold; a low one pays with density. Chosen is the rank
   that leaves the layer smallest in DRAM: the predictor, and the neurons selected in a window of tokens.
3. **Refinement.** Stochastic descent of the cross entropy of "fires", positives weighted up, from that start.
4. **Threshold.** Of the weights as stored, on text that none of this saw: the highest that reaches the recall.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from flashneuron.model.capture import chunk_rows, chunks
from flashneuron.model.ffn import Ffn
from flashneuron.model.token_rows import Rows
from flashneuron.predictor.lowrank import LowRank
from flashneuron.predictor.settings import PredictorSettings

LOGISTIC_SCALE = 1.7  # a logistic of this slope is close to a normal distribution of spread 1
WINDOW_UNION = 4.0  # neurons selected in a window of about 5 tokens, over those of one token
RECALL_MARGIN = 0.85  # share of the allowed misses that are used on tuning text: other text misses a little more
SMALLEST_EIGENVALUE = 1e-6  # of the covariance, over its largest: directions below carry rounding only


@dataclass(frozen=True)
class Regression:
    """Predictors of every rank: of rank r, the first r rows of `a` and columns of `b`. float64."""

    a: Tensor  # [d, d], in order of what each row explains; a · (x − mean) has unit covariance
    b: Tensor  # [F, d]
    mean: Tensor  # [d]
    bias: Tensor  # [F]: the mean of what is estimated
    unexplained: Tensor | float = 0.0  # [F]: its variance that is not linear in x

    @property
    def max_rank(self) -> int:
        return self.a.shape[0]

    def at(self, rank: int) -> LowRank:
        spread = self.b.square().sum(1).clamp_min(1e-12)
        error = (self.b[:, rank:].square().sum(1) + self.unexplained).clamp_min(1e-6 * spread).sqrt()
        scale = LOGISTIC_SCALE / error
        a, b = self.a[:rank], self.b[:, :rank] * scale[:, None]
        bias = self.bias * scale - b @ (a @ self.mean)
        return LowRank(a.float(), b.float(), bias.float())


def regress(ffn: Ffn, x: Rows) -> Regression:
    """x [N, d], on any device."""
    mean, covariance = _moments(x, ffn.width, ffn.device)
    values, vectors = torch.linalg.eigh(covariance)
    deviations = values.clamp_min(float(values[-1]) * SMALLEST_EIGENVALUE).sqrt()
    unexplained: Tensor | float = 0.0
    if (test := ffn.linear_test()) is not None:
        rows = test[0].double()
        explained = rows @ (vectors * deviations)  # R · L
        bias = rows @ mean + test[1].double()
    else:
        bias, crossed = _fires_moments(ffn, x, mean)
        explained = crossed @ (vectors / deviations)  # R · C · L⁻ᵀ
        unexplained = (0.25 - bias.square() - explained.square().sum(1)).clamp_min(0)
    weight = explained.square().sum(1).clamp_min(1e-12).rsqrt()[:, None]
    _, order = torch.linalg.eigh((explained * weight).T @ (explained * weight))
    order = order.flip(1)
    return Regression(
        a=order.T @ (vectors / deviations).T,
        b=explained @ order,
        mean=mean,
        bias=bias,
        unexplained=unexplained,
    )


def choose_rank(regression: Regression, ffn: Ffn, x: Rows, recall: float) -> int:
    """The rank of least cost, x [n, d] being text to choose by. Stops where a predictor alone costs more than that."""
    firing = sum(int(ffn.active(part).sum()) for part in _chunks(ffn, x)) / (len(x) * ffn.neurons)
    best_cost, best_rank = float("inf"), 1
    for rank in rank_ladder(regression.max_rank):
        if layer_cost(ffn, rank, firing * recall) >= best_cost:
            break
        _, density = threshold_for(regression.at(rank), ffn, x, recall)
        cost = layer_cost(ffn, rank, density)
        if cost < best_cost:
            best_cost, best_rank = cost, rank
    return best_rank


def rank_ladder(hidden_size: int) -> list[int]:
    """8, 12, 16, 24, … up to half the hidden size: beyond, a predictor costs nearly what it predicts."""
    ranks = sorted({step << power for step in (8, 12) for power in range(16)})
    return [rank for rank in ranks if rank <= hidden_size // 2] or [max(1, hidden_size // 2)]


def layer_cost(ffn: Ffn, rank: int, density: float) -> float:
    """Elements in DRAM of a predictor and of the neurons that it keeps there."""
    return rank * (ffn.width + ffn.neurons) + WINDOW_UNION * density * ffn.neurons * ffn.matrices * ffn.width


def refine(predictor: LowRank, ffn: Ffn, x: Rows, settings: PredictorSettings) -> LowRank:
    """x [N, d], on any device, is passed once or more in random order. Steps are relative to each tensor's size."""
    device = ffn.device
    batch = min(settings.batch_tokens, len(x), 4 * chunk_rows(ffn.neurons))
    order = _shuffled(len(x), batch, settings.seed)
    a, b, bias = predictor.a.clone(), predictor.b.clone(), predictor.bias.clone()
    sizes = (a.square().mean().sqrt(), b.square().mean().sqrt(), bias.abs().mean())
    rates = [settings.learning_rate * float(size) for size in sizes]
    groups = [{"params": [tensor], "lr": rate} for tensor, rate in zip((a, b, bias), rates, strict=True)]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    error, fires = (torch.empty(batch, ffn.neurons, device=device) for _ in range(2))
    for step in range(settings.steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - step / settings.steps)
        rows = x[next(order)].to(device)
        fires.copy_(ffn.active(rows, fires))
        hidden = rows @ a.T
        torch.addmm(bias, hidden, b.T, out=error)
        error.sigmoid_().sub_(fires)  # the loss's slope, but for the weight
        error.mul_(fires.mul_(settings.positive_weight - 1).add_(1)).div_(batch)
        b.grad, bias.grad, a.grad = error.T @ hidden, error.sum(0), (error @ b).T @ rows
        optimizer.step()
    return LowRank(a, b, bias)


def threshold_for(
    predictor: LowRank, ffn: Ffn, x: Rows, recall: float, seen: Rows | None = None
) -> tuple[float, float]:
    """The highest logit over which `recall` of the firing neurons lie, and the share of all neurons over it.
    `seen`: the predictor's inputs, if they are not the FFN's.
    """
    seen = x if seen is None else seen
    parts = zip(_chunks(ffn, x), _chunks(ffn, seen), strict=True)
    firing = torch.cat([predictor.logits(predictor_input)[ffn.active(part)] for part, predictor_input in parts])
    if not len(firing):
        return max(float(predictor.logits(part).max()) for part in _chunks(ffn, seen)), 0.0
    missed = int((1 - recall) * len(firing))
    threshold = float(firing.kthvalue(missed).values) if missed else float(firing.min()) - 1e-3
    selected = sum(int((predictor.logits(part) > threshold).sum()) for part in _chunks(ffn, seen))
    return threshold, selected / (len(x) * ffn.neurons)


def _moments(x: Rows, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean [d] and covariance [d, d] of rows, float64."""
    mean = torch.zeros(width, dtype=torch.float64, device=device)
    for part in chunks(x, width, device):
        mean += part.sum(0, dtype=torch.float64) / len(x)
    covariance = torch.zeros(width, width, dtype=torch.float64, device=device)
    for part in chunks(x, width, device):
        centred = part - mean.float()
        covariance += centred.T @ centred
    return mean, covariance / len(x)


def _fires_moments(ffn: Ffn, x: Rows, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [F] of "fires" (±½) and its covariance [F, d] with x, float64; `mean` is that of x."""
    average = torch.zeros(ffn.neurons, dtype=torch.float64, device=ffn.device)
    crossed = torch.zeros(ffn.neurons, len(mean), dtype=torch.float64, device=ffn.device)
    for part in _chunks(ffn, x):
        fires = ffn.active(part).float() - 0.5
        average += fires.sum(0, dtype=torch.float64) / len(x)
        crossed += fires.T @ (part - mean.float())
    return average, crossed / len(x)


def _chunks(ffn: Ffn, x: Rows) -> Iterator[Tensor]:
    return chunks(x, ffn.neurons, ffn.device)


def _shuffled(rows: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Row numbers of batch after batch, without end; each row once in every pass."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(rows, generator=generator)
        yield from (order[start : start + batch] for start in range(0, rows - batch + 1, batch))
