"""`flashneuron export`: from a Hugging Face folder to a model package."""

from __future__ import annotations

import json
from pathlib import Path

import click
from pydantic import ValidationError

from flashneuron.cli.export_options import text_option
from flashneuron.cli.options import format_option
from flashneuron.cli.package_summary import describe, render
from flashneuron.cli.progress import make_progress
from flashneuron.errors import InputError

_DTYPES = click.Choice(["fp32", "fp16", "bf16", "int8", "int4"])


@click.command()
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@click.option("-o", "--output", metavar="PKG", type=click.Path(path_type=Path), required=True, help="Package to make.")
@click.option("--dtype", type=_DTYPES, default="fp16", show_default=True, help="Element of neurons.")
@click.option(
    "--attention",
    type=click.Choice(["fp32", "fp16"]),
    default="fp16",
    show_default=True,
    help="Element of attention and head.",
)
@click.option("--layout", metavar="L[,L]", default="bundled", show_default=True, help="bundled, split, or both.")
@click.option("--order", type=click.Choice(["none"]), default="none", show_default=True, help="Order of neurons.")
@click.option("--predictor", type=click.Choice(["lowrank", "none"]), default="lowrank", show_default=True)
@click.option("--recall", type=float, default=0.99, show_default=True, help="Share of firing neurons to predict.")
@click.option("--rank", type=int, help="Rank of every predictor. Default: chosen per layer by --recall.")
@text_option()
@click.option("--max-chunk", type=int, default=64, show_default=True, help="Prompt tokens of one attention call.")
@format_option("table", "json")
def command(
    model: Path, output: Path, layout: str, order: str, texts: tuple[Path, ...], style: str, **options: object
) -> None:
    """Make a model package of MODEL, a Hugging Face folder of a ReLU model (OPT).

    Interrupted, it leaves PKG.partial and the same command goes on from there.

    \b
    Examples:
      flashneuron export models/sample -o sample.fnpkg
      flashneuron export opt-1.3b -o opt.fnpkg --layout bundled,split --text wiki.txt
    """
    try:
        from flashneuron.export.pipeline import export_model
        from flashneuron.export.recipe import ExportRecipe
    except ModuleNotFoundError as error:
        raise InputError(f"export needs {error.name}; install the extra: pip install 'flashneuron[export]'") from None
    layouts = tuple(dict.fromkeys(layout.split(",")))
    try:
        recipe = ExportRecipe.model_validate({"layouts": layouts, "texts": texts, **options})
    except ValidationError as error:
        defect = error.errors()[0]
        option = {"layouts": "layout", "max_chunk": "max-chunk"}.get(str(defect["loc"][0]), str(defect["loc"][0]))
        raise InputError(f"--{option} {defect['input']}: {defect['msg'].replace('Input', 'it')}") from None
    package = export_model(model, output, recipe, make_progress())
    data = describe(package)
    click.echo(json.dumps(data) if style == "json" else render(data))
