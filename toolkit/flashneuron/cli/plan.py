"""`flashneuron plan`: latency by RAM budget, predicted before anything is pushed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from flashneuron.cli.options import (
    budget_explained,
    device_option,
    format_option,
    list_options,
    package_argument,
    split_lists,
)
from flashneuron.errors import InputError
from flashneuron.package.manifest import Package
from flashneuron.profile.budgets import spread_budgets
from flashneuron.profile.experiment import Point, grid, with_context
from flashneuron.profile.plan import budget_of, make_plan, require_trace
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.target import local_place, local_runner, target_here, target_of_file
from flashneuron.report.plan_table import plan_json, plan_text

TOKENS = 384  # prompt and new ones, the paper's 128 + 256


@click.command("plan")
@package_argument
@list_options
@click.option("--curve", metavar="FILE", type=click.Path(path_type=Path), help="Instead of a device: what probe kept.")
@click.option("--tokens", type=click.IntRange(2), help="That the KV cache holds; default: 384, or the model's most.")
@device_option
@format_option("table", "json")
def command(
    package: Path, curve: Path | None, tokens: int | None, device: str | None, style: str, **texts: Any
) -> None:
    """Predict what PKG will cost on a probed device, for every combination of the listed options; recommend one.

    Nothing is pushed: the package's activation trace is replayed here through the runtime's own cache code, and the
    device's flash curve says how long the reads take. Without --ram at 4 budgets, without --window for auto and 4.

    \b
    Examples:
      flashneuron plan sample.fnpkg --ram 24M,28M,32M
      flashneuron plan opt.fnpkg --ram 3G --window 2,4,8,auto --overlap on,off --format json
      flashneuron plan opt.fnpkg --curve another-phone.json
    """
    if curve is not None and device is not None:
        raise InputError("give --curve or --device, not both")
    lists, _ = split_lists(texts)
    opened = Package.open(package)
    require_trace(opened)
    points = grid({"window": ["auto", "4"], **lists}, RunSettings())
    points = with_context(points, min(tokens or TOKENS, opened.manifest.model.max_context))
    target = target_of_file(curve) if curve else target_here(device)
    runner, (place, identity) = local_runner(), local_place(opened)
    with budget_explained():
        if "ram" not in lists:
            chosen = {each: spread_budgets(budget_of(runner, place, each.settings)) for each in points}
            points = [Point(replace(each.settings, ram=size)) for each in points for size in chosen[each]]
        plan = make_plan(opened, identity, runner, place, target, [point.settings for point in points])
    simulated = f"{target.name} by its curve in {curve}" if curve else None
    if style == "json":
        click.echo(json.dumps(plan_json(plan, target, simulated)))
    else:
        click.echo(plan_text(plan, target, simulated))
