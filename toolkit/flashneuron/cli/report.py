"""`flashneuron report`: one page out of runs."""

from __future__ import annotations

from pathlib import Path

import click

from flashneuron.cli.options import format_option
from flashneuron.profile.run_file import find_runs, read_run, write_text_atomically
from flashneuron.report.render import render_html, render_json, render_markdown

_RENDER = {"html": render_html, "md": render_markdown, "json": render_json}


@click.command()
@click.argument("runs", metavar="RUN…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Default: report.html; md and json go to stdout.")
@format_option("html", "md", "json")
def command(runs: tuple[Path, ...], output: Path | None, style: str) -> None:
    """Latency, bytes, time and memory of runs (files or folders of them) as one page that opens offline.

    \b
    Example:
      flashneuron report runs/sample.fnpkg -o report.html
    """
    found = [read_run(path) for path in find_runs(list(runs))]
    text = _RENDER[style](found)
    if output is None and style != "html":
        click.echo(text)
        return
    target = output or Path("report.html")
    write_text_atomically(target, text)
    click.echo(target)
