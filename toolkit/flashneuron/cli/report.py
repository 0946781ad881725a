"""`flashneuron report`: one page out of runs, or out of a profile of operators."""

from __future__ import annotations

from pathlib import Path

import click

from flashneuron.cli.options import format_option
from flashneuron.errors import InputError
from flashneuron.profile.run_file import find_runs, read_run, write_text_atomically
from flashneuron.report.operator_report import render_operators
from flashneuron.report.render import render_html, render_json, render_markdown

_RENDER = {"html": render_html, "md": render_markdown, "json": render_json}


@click.command()
@click.argument("runs", metavar="[RUN]…", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--etdump", metavar="DIR", type=click.Path(path_type=Path), help="Instead of runs: what run --etdump made."
)
@click.option(
    "--etrecord",
    metavar="PKG.etrecord",
    type=click.Path(path_type=Path),
    help="With --etdump: what export --etrecord made; names the model's operators and modules.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Default: report.html; md and json go to stdout.")
@format_option("html", "md", "json")
def command(
    runs: tuple[Path, ...], etdump: Path | None, etrecord: Path | None, output: Path | None, style: str
) -> None:
    """Latency, bytes, time and memory of runs (files or folders of them) as one page that opens offline.

    \b
    Examples:
      flashneuron report runs/sample.fnpkg -o report.html
      flashneuron report --etdump operators --etrecord sample.fnpkg.etrecord -o operators.html
    """
    if bool(runs) == (etdump is not None):
        raise InputError("name runs (files or folders of them), or --etdump with the folder of one profile")
    if etrecord is not None and etdump is None:
        raise InputError("--etrecord goes with --etdump, the folder that flashneuron run --etdump made")
    if etdump is not None:
        text = render_operators(etdump, etrecord, style)
    else:
        text = _RENDER[style]([read_run(path) for path in find_runs(list(runs))])
    if output is None and style != "html":
        click.echo(text)
        return
    target = output or Path("report.html")
    write_text_atomically(target, text)
    click.echo(target)
