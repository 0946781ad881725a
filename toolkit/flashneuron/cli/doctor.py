"""`flashneuron doctor`: what this machine has and lacks."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from flashneuron.cli.options import format_option
from flashneuron.doctor import PURPOSES, examine
from flashneuron.errors import FlashneuronError
from flashneuron.report.table import text_table


@click.command()
@click.option("--for", "purpose", type=click.Choice(list(PURPOSES)), help="Only this; fails if something is missing.")
@format_option("table", "json")
def command(purpose: str | None, style: str) -> None:
    """Say what this machine has and lacks, and how to get it.

    \b
    Examples:
      flashneuron doctor
      flashneuron doctor --for qnn && flashneuron export MODEL -o PKG --backend xnnpack,qnn --soc SM8650
    """
    found = examine(purpose)
    if style == "json":
        click.echo(json.dumps([{**asdict(finding), "ok": finding.ok} for finding in found]))
    else:
        rows = [(f.purpose, f.what, "ok" if f.ok else "MISSING", f.found) for f in found]
        click.echo(text_table(("for", "what", "", "found"), rows))
        for finding in found:
            if not finding.ok:
                click.echo(f"{finding.purpose}: {finding.what}: {finding.fix}")
    if purpose and not all(finding.ok for finding in found):
        raise FlashneuronError(f"something that {purpose} needs is missing: see above")
