"""`flashneuron export`: from a Hugging Face folder to a model package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from flashneuron.cli.export_options import make_recipe, recipe_options, text_option
from flashneuron.cli.options import format_option
from flashneuron.cli.package_summary import describe, render
from flashneuron.cli.progress import make_progress
from flashneuron.errors import InputError


@click.command()
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@click.option("-o", "--output", metavar="PKG", type=click.Path(path_type=Path), required=True, help="Package to make.")
@recipe_options
@click.option(
    "--recall", metavar="SHARE", type=float, default=0.99, show_default=True, help="Share of firing neurons to predict."
)
@click.option("--rank", metavar="N", type=int, help="Rank of every predictor. Default: chosen per layer by --recall.")
@click.option(
    "--predictors-from",
    metavar="DIR|train",
    help="Predictors made elsewhere: PowerInfer's model_LAYER.pt, or what train-predictor wrote; `train` makes new "
    "ones. Default: those that the checkpoint carries (TurboSparse), else train.",
)
@click.option("--fit-thresholds", is_flag=True, help="Of given predictors: move thresholds until --recall is reached.")
@click.option("--sparsity", metavar="SHARE", type=float, help="Of dense SwiGLU models: neurons to silence, as 0.5.")
@click.option(
    "--threshold-on",
    type=click.Choice(["gate", "product"]),
    default="gate",
    show_default=True,
    help="With --sparsity, what must be large: the gate, which saves up and down, or gate times up, which saves down.",
)
@text_option()
@format_option("table", "json")
def command(model: Path, output: Path, style: str, **options: Any) -> None:
    """Make a model package of MODEL, a Hugging Face folder (OPT, Falcon, Llama, Mistral, Qwen, MiniCPM, Bamboo).

    ReLU models are sparse by themselves. Of a dense SwiGLU model --sparsity silences the neurons that matter least:
    `flashneuron sparsity MODEL` shows what each choice costs.

    Interrupted, it leaves PKG.partial and the same command goes on from there.

    \b
    Examples:
      flashneuron export models/sample -o sample.fnpkg
      flashneuron export opt-1.3b -o opt.fnpkg --layout bundled,split --text wiki.txt
      flashneuron export opt-1.3b -o opt.fnpkg --predictors-from predictors      # that train-predictor made
      flashneuron export relu-llama -o llama.fnpkg --predictors-from relu-llama-predictors --fit-thresholds
      flashneuron export SmolLM2-135M -o smol.fnpkg --sparsity 0.5 --threshold-on product
    """
    try:
        from flashneuron.export.pipeline import export_model
    except ModuleNotFoundError as error:
        raise InputError(f"export needs {error.name}; install the extra: pip install 'flashneuron[export]'") from None
    package = export_model(model, output, make_recipe(**options), make_progress())
    data = describe(package)
    click.echo(json.dumps(data) if style == "json" else render(data))
