"""`flashneuron profile`: latency against RAM budgets, as run files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flashneuron.cli.options import (
    budget_explained,
    device_option,
    format_option,
    list_options,
    package_argument,
    sampling_options,
    split_lists,
)
from flashneuron.cli.progress import make_progress
from flashneuron.errors import InputError
from flashneuron.package.manifest import Package
from flashneuron.profile import ladder
from flashneuron.profile.budgets import spread_budgets
from flashneuron.profile.experiment import check_folder, grid, measure, with_budgets, with_context, with_ladder
from flashneuron.profile.session import open_session
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.text import TextCodec
from flashneuron.profile.workload import make_workload, workload_text
from flashneuron.report.render import render_json, render_text


@click.command()
@package_argument
@list_options
@sampling_options
@click.option("--ladder", "steps", is_flag=True, help="Measure the paper's steps, from naive to bundling.")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Runs of each, in both orders.")
@click.option("-p", "--prompt", metavar="TEXT", help="The prompt; default: the package's golden prompt.")
@click.option("--text", type=click.Path(path_type=Path), help="A file to cut the prompt from.")
@click.option("--prompt-tokens", type=click.IntRange(1), default=128, show_default=True, help="At most so many.")
@click.option("--max-new-tokens", type=click.IntRange(2), default=64, show_default=True, help="Tokens to generate.")
@click.option("--trace", is_flag=True, help="Write each run's trace too, beside it: RUN.trace.json; see run --trace.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of runs; default: runs/NAME.")
@device_option
@format_option("table", "json")
def command(
    package: Path, steps: bool, repeat: int, prompt: str | None, text: Path | None, prompt_tokens: int,
    max_new_tokens: int, output: Path | None, device: str | None, style: str, trace: bool, **texts: Any,
) -> None:  # fmt: skip
    """Measure PKG on a device for every combination of the listed options; without --ram at 4 budgets.

    Each run is one JSON file, written when it ends; the same command goes on after an interruption.

    \b
    Examples:
      flashneuron profile sample.fnpkg --ram 24M,28M,32M --window 2,4,auto
      flashneuron profile sample.fnpkg --ladder -o runs/ladder
    """
    lists, sampling = split_lists(texts)
    points = grid(lists, RunSettings.parse(sampling))
    opened = Package.open(package)
    if steps and (fixed := [f"--{name}" for name in ladder.DECIDED if name in lists]):
        raise InputError(f"--ladder sets {', '.join(fixed)} itself; leave that out")
    if steps:
        ladder.check_package(opened.manifest)
    chosen, source = workload_text(prompt, text, opened)
    context = opened.manifest.model.max_context
    workload = make_workload(TextCodec.of(opened), chosen, source, prompt_tokens, max_new_tokens, context)
    points = with_context(points, len(workload.prompt_ids) + max_new_tokens)
    folder = output or Path("runs") / package.resolve().name
    check_folder(folder)
    progress = make_progress()
    with open_session(opened, device, progress) as session, budget_explained():
        if steps:
            points = with_ladder(points)
        elif "ram" not in lists:
            points = with_budgets(points, lambda point: spread_budgets(session.budget(point.settings)))
        runs = measure(session, points, workload, repeat, folder, progress, trace)
    click.echo(render_json(runs) if style == "json" else render_text(runs))
    progress.note(f"{len(runs)} runs in {folder}; see them: flashneuron report {folder}")
