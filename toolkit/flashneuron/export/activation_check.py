"""Does the text agree with the activation that config.json names? Configs of ReLU-fied models are known to lie: dReLU
and FATReLU called relu, or relu over weights that were trained with another.
"""

from __future__ import annotations

from flashneuron.model.spec import ModelSpec
from flashneuron.predictor.settings import PredictorTable
from flashneuron.progress import Progress

# Models that were trained with ReLU let 3 to 35 % of their neurons fire; without training it is about half.
DOUBTFUL_SHARE = 0.45


def doubt_activation(spec: ModelSpec, table: PredictorTable | None, progress: Progress) -> None:
    """Notes it where so many neurons fire that the model cannot have been trained with its activation."""
    if table is None or spec.activation == "silu":
        return
    share = sum(row.true_density for row in table.layers) / len(table.layers)
    if share > DOUBTFUL_SHARE:
        what = f"{share:.0%} of the neurons fire on the text, too many for a model trained with {spec.activation}"
        progress.note(f"{what}: is the activation in config.json right, and the perplexity of `inspect` plausible?")
