"""`flashneuron profile`: latency against RAM budgets, as run files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flashneuron.cli.options import (
    budget_explained,
    format_option,
    package_argument,
    sampling_options,
    split_lists,
)
from flashneuron.cli.profile_options import generating_list_options, measuring_options, workload_options
from flashneuron.cli.profile_output import STYLES, shown
from flashneuron.cli.profile_several import profile_several
from flashneuron.cli.profile_workloads import WORKLOAD, devices_of, workloads_of
from flashneuron.cli.progress import make_progress
from flashneuron.package.manifest import Package
from flashneuron.profile import ladder
from flashneuron.profile.cool_down import CoolingDown
from flashneuron.profile.drafts import open_drafts, push_drafts
from flashneuron.profile.experiment import check_folder, complete, grid, jobs_of, measure, with_context
from flashneuron.profile.session import open_session
from flashneuron.profile.settings import RunSettings


@click.command()
@package_argument
@generating_list_options
@sampling_options
@workload_options
@measuring_options
@format_option(*STYLES)
def command(
    package: Path, steps: bool, repeat: int, cool_down: float, output: Path | None,
    devices: tuple[str, ...], style: str, trace: bool, **more: Any,
) -> None:  # fmt: skip
    """Measure PKG on a device for every combination of the listed options; without --ram at 4 budgets.

    Each run is one JSON file, written when it ends; the same command goes on after an interruption.

    \b
    Examples:
      flashneuron profile sample.fnpkg --ram 24M,28M,32M --window 2,4,auto
      flashneuron profile smol.fnpkg --ram 256M --kv fp16,int8 --gate-first off,on
      flashneuron profile sample.fnpkg --ram 32M --ram-at 64:24M      # cut on the way: the report shows what it costs
      flashneuron profile big.fnpkg --ram 2G,3G --draft none,small.fnpkg
      flashneuron profile sample.fnpkg --ladder -o runs/ladder
      flashneuron profile sample.fnpkg --device 127.0.0.1:5038,host
      flashneuron profile sample.fnpkg --workload chat.toml     # for instance these two lines:
        prompts = [{text = "In the beginning"}, {file = "essay.txt", prompt_tokens = 256}]
        max_new_tokens = 64     # of each prompt that says nothing else; file: from chat.toml's folder
    """
    progress = make_progress()
    lists, sampling = split_lists({name: text for name, text in more.items() if name not in WORKLOAD})
    points = grid(lists, RunSettings.parse(sampling))
    opened = Package.open(package)
    drafts = open_drafts(opened, (point.settings for point in points))
    if steps:
        ladder.check(opened.manifest, lists)
    workloads = workloads_of({name: more[name] for name in WORKLOAD}, opened, progress.note)
    points = with_context(points, max(len(each.prompt_ids) + each.max_new_tokens for each in workloads))
    folder = output or Path("runs") / package.resolve().name
    check_folder(folder)
    chosen = devices_of(devices)
    if len(chosen) > 1:
        profile_several(click.get_current_context(), chosen, folder, style)
        return
    with open_session(opened, next(iter(chosen), None), progress) as bare, budget_explained():
        session = push_drafts(bare, drafts, progress)
        points = complete(points, session, ladder=steps, budgets_open="ram" not in lists)
        jobs = jobs_of(points, workloads)
        runs = measure(session, jobs, repeat, folder, progress, CoolingDown(cool_down), trace)
    click.echo(shown(runs, style))
    progress.note(f"{len(runs)} runs in {folder}; see them: flashneuron report {folder}")
