"""`flashneuron synth`: a model of true size with random weights whose sparsity is a real model's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from flashneuron.cli.export_options import make_recipe, recipe_options
from flashneuron.cli.options import format_option
from flashneuron.cli.progress import make_progress
from flashneuron.errors import InputError
from flashneuron.report.table import text_table
from flashneuron.synth.shapes import SHAPES, shape_named

_NAMES = {
    "predicted": "predicted per token",
    "firing": "truly active per token",
    "recall": "of them predicted",
    "union": "predicted in 5 tokens",
    "new": "newly needed at window 4",
    "run_length": "run length, model's order",
    "ordered_run_length": "run length, coactivation",
    "similarity": "FFN inputs 4 layers apart",
}
_LENGTHS = {"run_length", "ordered_run_length", "similarity"}


@click.command()
@click.option("--shape", "name", required=True, metavar="NAME", help=f"One of {', '.join(SHAPES)}.")
@click.option("-o", "--output", metavar="DIR", type=click.Path(path_type=Path), required=True, help="What to make.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same model.")
@click.option("--package", "as_package", is_flag=True, help="Make a package; the options below are for it alone.")
@click.option("--trace", "as_trace", is_flag=True, help="Make its activation trace alone, a file for plan --replay.")
@recipe_options
@format_option("table", "json")
def command(name: str, output: Path, seed: int, as_package: bool, as_trace: bool, style: str, **options: Any) -> None:
    """Make a synthetic model in DIR: a Hugging Face folder, or with --package a model package.

    Random weights with the sparsity of OPT-6.7B, for benchmarks; what it writes means nothing. Interrupted, the same
    command goes on.

    \b
    Examples:
      flashneuron synth --shape opt-6.7b --package -o opt-6.7b.fnpkg
      flashneuron synth --shape llama-2-7b -o llama-2-7b
    """
    try:
        from flashneuron.synth.create import create_folder, create_package, create_trace
    except ModuleNotFoundError as error:
        raise InputError(f"synth needs {error.name}; install the extra: pip install 'flashneuron[export]'") from None
    shape, recipe = shape_named(name), make_recipe(**options)
    if as_trace:
        create_trace(shape, seed, output, make_progress())
        click.echo(json.dumps({"trace": str(output)}) if style == "json" else output)
        return
    if as_package:
        data = create_package(shape, seed, output, recipe, make_progress())
    else:
        data = create_folder(shape, seed, output, make_progress())
    click.echo(json.dumps(data) if style == "json" else render(data))


def render(data: dict[str, Any]) -> str:
    reached = data["reached"] or {}
    rows = [
        (title, _figure(key, data["published"][key]), _figure(key, reached.get(key)))
        for key, title in _NAMES.items()
    ]  # fmt: skip
    title = f"{data['shape']}, synthetic: random weights, seed {data['seed']}"
    return f"{title}\n\n{text_table(('', 'published (OPT-6.7B)', 'reached'), rows)}"


def _figure(key: str, value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}" if key in _LENGTHS else f"{value:.2%}"
