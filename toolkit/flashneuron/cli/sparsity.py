"""`flashneuron sparsity`: what silencing neurons of a dense SwiGLU model costs, before a package is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from flashneuron.cli.export_options import text_option
from flashneuron.cli.options import format_option
from flashneuron.cli.progress import make_progress
from flashneuron.errors import InputError
from flashneuron.report.table import text_table


@click.command()
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@text_option()
@click.option("--sparsity", metavar="SHARE[,…]", default="0.3,0.5,0.7", show_default=True, help="Neurons to silence.")
@click.option(
    "--threshold-on", "on", metavar="T[,T]", default="gate,product", show_default=True, help="gate, product, or both."
)
@format_option("table", "json")
def command(model: Path, texts: tuple[Path, ...], sparsity: str, on: str, style: str) -> None:
    """Show the perplexity of MODEL, a dense SwiGLU model, with shares of its neurons silenced.

    Thresholds are calibrated on one part of the text and measured on another. On the gate a silent neuron's up and
    down rows need not be read; on the product, only its down row. `export` takes the choice by the same options.

    \b
    Examples:
      flashneuron sparsity SmolLM2-135M
      flashneuron sparsity Llama-3.2-1B --text wiki.txt --sparsity 0.4,0.5,0.6 --threshold-on product
    """
    shares = [_share(text) for text in sparsity.split(",")]
    kinds = [_kind(text) for text in dict.fromkeys(on.split(","))]
    try:
        from flashneuron.export.sparsity import sparsity_rows
        from flashneuron.export.texts import read_texts, token_sequences
        from flashneuron.model.folder import open_model
    except ModuleNotFoundError as error:
        raise InputError(f"sparsity needs {error.name}; install the extra: pip install 'flashneuron[export]'") from None
    folder = open_model(model)
    if folder.spec.activation != "silu":
        raise InputError(f"{folder.name} has {folder.spec.activation}, whose neurons are silent by themselves")
    sequences = token_sequences(read_texts(texts, folder.path), folder)
    choices = [(kinds[0], 0.0), *((kind, share) for kind in kinds for share in shares if share)]
    found = sparsity_rows(folder.spec, folder.weights, sequences, choices, make_progress())
    rows = [row for row, _ in found]
    if style == "json":
        click.echo(json.dumps({"rows": [row.model_dump() for row in rows]}))
        return
    cells = [
        ("dense" if not row.asked else row.on, f"{row.asked:.0%}", f"{row.silent:.1%}", f"{row.perplexity:.2f}",
         f"{row.perplexity / rows[0].perplexity - 1:+.1%}")
        for row in rows
    ]  # fmt: skip
    click.echo(text_table(("on", "asked", "silent", "perplexity", "against dense"), cells))


def _kind(text: str) -> Literal["gate", "product"]:
    """Errors: InputError."""
    if text == "gate":
        return "gate"
    if text == "product":
        return "product"
    raise InputError(f"--threshold-on {text}: there are gate and product")


def _share(text: str) -> float:
    """Errors: InputError."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise InputError(f"--sparsity {text}: a share from 0 to below 1 is needed, as 0.5")
    return share
