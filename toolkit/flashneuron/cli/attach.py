"""`flashneuron attach`: runs that go on, or went on, while nobody was looking."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from flashneuron.cli.options import budget_explained, device_option, format_option
from flashneuron.cli.run_output import GenerationOutput, show_scores
from flashneuron.device.detached import DetachedRun, list_runs, stop
from flashneuron.device.discover import open_device
from flashneuron.device.info import conditions
from flashneuron.device.protocol import Device
from flashneuron.profile.attach import Attached, choose_run, forget
from flashneuron.report.table import text_table


@click.command()
@click.argument("run", required=False)
@click.option("--list", "listed", is_flag=True, help="Show the runs: those that go on, and results nobody has read.")
@click.option("--stop", "ended", is_flag=True, help="End RUN instead, and forget it.")
@click.option("--package", metavar="PKG", type=Path, help="The run's package, if it has moved on this computer.")
@device_option
@format_option("text", "json")
def command(run: str | None, listed: bool, ended: bool, package: Path | None, device: str | None, style: str) -> None:
    """Follow RUN on a device to its end, and print what `run` or `eval` would have printed, from its beginning.

    RUN is the beginning of a name that --list shows; default: the run that goes on, else the last one. Its results are
    removed from the device when they were read. Ctrl+C leaves it running.

    \b
    Examples:
      flashneuron attach
      flashneuron attach --list
      flashneuron attach 3f2a --stop
    """
    target = open_device(device)
    runs = list_runs(target)
    if listed:
        click.echo(json.dumps({"runs": [asdict(each) for each in runs]}) if style == "json" else _table(runs))
        return
    chosen = choose_run(runs, run, target.name)
    if ended:
        stop(target, chosen.name)
        forget(target, chosen)
        click.echo(f"run {chosen.name} on {target.name} has ended")
        return
    with budget_explained():
        _show(target, Attached.to(target, chosen, package), style)
    for lost in forget(target, chosen):
        click.echo(f"what --{lost} recorded could not be kept for an attached run; run again for it", err=True)


def _show(target: Device, attached: Attached, style: str) -> None:
    if attached.run.request["verb"] == "score":
        scores = attached.scores()
        show_scores(scores, attached.package.manifest.name, conditions(target), target.name, style)
        return
    output = GenerationOutput(attached.codec, attached.prompt_ids, style)
    output.finish(attached.generation(output.token), conditions(target), target.name)


def _table(runs: list[DetachedRun]) -> str:
    rows = [
        (each.name, each.state, str(each.request.get("verb", "?")), str(each.request.get("started", "?")),
         Path(str(each.request.get("local", "?"))).name)
        for each in runs
    ]  # fmt: skip
    return text_table(("run", "state", "verb", "started", "package"), rows) if rows else "no runs"
