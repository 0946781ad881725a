"""`flashneuron inspect`: what is in a package, or its first defect."""

from __future__ import annotations

import json
from pathlib import Path

import click

from flashneuron.cli.options import format_option, package_argument
from flashneuron.cli.package_summary import describe, render
from flashneuron.cli.progress import make_progress
from flashneuron.package.manifest import Package
from flashneuron.package.verify import verify


@click.command()
@package_argument
@click.option("--verify", "full", is_flag=True, help="Check every file's header and SHA-256 too.")
@format_option("table", "json")
def command(package: Path, full: bool, style: str) -> None:
    """Show the model, sizes, neuron layouts and predictors of PKG, or name its first defect.

    \b
    Examples:
      flashneuron inspect sample.fnpkg
      flashneuron inspect sample.fnpkg --verify --format json
    """
    opened = verify(package, make_progress()) if full else Package.open(package)
    data = describe(opened) | {"verified": full}
    click.echo(json.dumps(data) if style == "json" else render(data))
