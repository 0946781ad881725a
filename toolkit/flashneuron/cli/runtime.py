"""`flashneuron runtime`: the program that runs on the device."""

from __future__ import annotations

import click

from flashneuron.cli.progress import make_progress
from flashneuron.device.runtime import TARGETS, build_runtime


@click.group()
def command() -> None:
    """Build the runner, the program that runs models on the device."""


@command.command()
@click.option("--target", default="host", show_default=True, help=f"What to build for: {', '.join(TARGETS)}.")
def build(target: str) -> None:
    """Build the runner from this checkout and print its folder.

    Needs a C++20 compiler and a few libraries (tools/setup installs them); nothing happens if nothing has changed.

    \b
    Example:
      flashneuron runtime build
    """
    click.echo(build_runtime(target, make_progress()))
