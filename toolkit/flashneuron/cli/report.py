"""`flashneuron report`: one page out of runs, or out of a profile of operators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from flashneuron.cli.options import format_option
from flashneuron.errors import InputError
from flashneuron.profile.run_file import Run, find_runs, read_run, write_text_atomically
from flashneuron.report.compare import Side, compare
from flashneuron.report.compare_render import render_comparison
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
@click.option(
    "--compare",
    "compared",
    metavar="A B",
    nargs=2,
    type=click.Path(path_type=Path),
    help="Instead of runs: B's runs against A's (files or folders), point by point.",
)
@click.option("--even-if-unequal", is_flag=True, help="With --compare: under unequal conditions too, marked as such.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Default: report.html; md and json go to stdout.")
@format_option("html", "md", "json")
def command(
    runs: tuple[Path, ...], etdump: Path | None, etrecord: Path | None, compared: tuple[Path, Path] | None,
    even_if_unequal: bool, output: Path | None, style: str,
) -> None:  # fmt: skip
    """Latency, bytes, time and memory of runs (files or folders of them) as one page that opens offline.

    \b
    Examples:
      flashneuron report runs/sample.fnpkg -o report.html
      flashneuron report --compare runs/before runs/after -o change.html
      flashneuron report --etdump operators --etrecord sample.fnpkg.etrecord -o operators.html
    """
    if (bool(runs), etdump is not None, compared is not None).count(True) != 1:
        raise InputError(
            "name runs (files or folders of them), or --etdump with the folder of one profile, or --compare with two "
            "files or folders of runs"
        )
    if etrecord is not None and etdump is None:
        raise InputError("--etrecord goes with --etdump, the folder that flashneuron run --etdump made")
    if even_if_unequal and compared is None:
        raise InputError("--even-if-unequal goes with --compare")
    if etdump is not None:
        text = render_operators(etdump, etrecord, style)
    elif compared is not None:
        a, b = (Side(str(path), _read([path])) for path in compared)
        text = render_comparison(compare(a, b, even_if_unequal), style)
    else:
        text = _RENDER[style](_read(runs))
    if output is None and style != "html":
        click.echo(text)
        return
    target = output or Path("report.html")
    write_text_atomically(target, text)
    click.echo(target)


def _read(paths: Sequence[Path]) -> list[Run]:
    return [read_run(path) for path in find_runs(list(paths))]
