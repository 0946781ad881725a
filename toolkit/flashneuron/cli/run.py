"""`flashneuron run`: text from a prompt."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from flashneuron.cli.options import (
    budget_explained,
    device_option,
    format_option,
    length_options,
    package_argument,
    runtime_options,
    sampling_options,
)
from flashneuron.cli.progress import make_progress
from flashneuron.package.manifest import Package
from flashneuron.profile.etdump import check_dump_folder, generate
from flashneuron.profile.session import Generation, open_session
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.text import TextCodec
from flashneuron.profile.workload import fit, read_prompt
from flashneuron.report.summary import generation_json, generation_line, generation_table, where


@click.command()
@package_argument
@click.option("-p", "--prompt", metavar="TEXT", help="The text to continue; - reads it from stdin.")
@click.option("-f", "--file", type=click.Path(path_type=Path), help="A file with the text to continue.")
@runtime_options
@length_options
@sampling_options
@device_option
@format_option("text", "json")
@click.option("--etdump", metavar="DIR", type=Path, help="Profile attention operator by operator into the folder DIR.")
@click.option("--stats", is_flag=True, help="Also show where the time went and each layer's cache, on stderr.")
def command(package: Path, prompt: str | None, file: Path | None, device: str | None, style: str, **more: Any) -> None:
    """Continue a prompt with the package PKG on a device, pushing first what the device lacks.

    The text goes to stdout as it comes, a summary to stderr. One newline at the end of a file or of stdin is dropped.

    \b
    Examples:
      flashneuron run sample.fnpkg -p "In the beginning" --temperature 0.8 --top-k 40
      flashneuron run sample.fnpkg -f prompt.txt --ram 24M --format json
      flashneuron run sample.fnpkg -p "In the beginning" --etdump operators   # then: report --etdump operators
    """
    stats, etdump = more.pop("stats"), more.pop("etdump")
    settings = RunSettings.parse(more)
    summary: Callable[[Generation, str], str] = generation_table if stats else generation_line
    if etdump:
        check_dump_folder(etdump)
    opened = Package.open(package)
    codec = TextCodec.of(opened)
    ids = codec.encode_prompt(read_prompt(prompt, file, sys.stdin.buffer))
    settings = fit(settings, len(ids), opened.manifest.model.max_context)
    with open_session(opened, device, make_progress()) as session, budget_explained():
        stream = codec.stream(ids)
        live = style == "text"
        pieces: list[str] = []

        def show(piece: str) -> None:
            pieces.append(piece)
            if live and piece:
                click.echo(piece, nl=False)

        made = generate(session, settings, ids, lambda token: show(stream.push(token.id)), etdump)
        show(stream.finish())
        conditions = session.conditions()
        if live:
            click.echo()
            click.echo(summary(made, where(conditions, session.device)), err=True)
        else:
            click.echo(json.dumps(generation_json(made, "".join(pieces), conditions), ensure_ascii=False))
