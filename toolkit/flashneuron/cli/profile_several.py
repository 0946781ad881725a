"""`flashneuron profile` on several devices at once."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from flashneuron.cli.profile_devices import failures, folder_names, run_on_each
from flashneuron.cli.profile_output import shown
from flashneuron.profile.experiment import Measured
from flashneuron.profile.run_file import read_run


def profile_several(ctx: click.Context, devices: Sequence[str], folder: Path, style: str) -> None:
    """The command of `ctx` on each device, its runs in a folder by the device's name in `folder`. What was measured is
    shown together, also where a device failed. Errors: DeviceError that names those.
    """
    names = folder_names(devices)
    arguments = {
        device: arguments_of(ctx, {"devices": [device], "output": folder / names[device], "style": "files"})
        for device in devices
    }
    outcomes = run_on_each(arguments, sys.stderr)
    paths = [
        Path(line) for outcome in outcomes.values() if not outcome.exit_code for line in outcome.stdout.splitlines()
    ]
    if paths:
        click.echo(shown([Measured(read_run(path), path) for path in paths], style))
    if error := failures(outcomes):
        raise error
    click.echo(f"{len(paths)} runs in {folder}; see them: flashneuron report {folder}/*", err=True)


def arguments_of(ctx: click.Context, changed: Mapping[str, Any]) -> list[str]:
    """The words that make `ctx`'s command again, with other values where `changed` has them."""
    words: list[str] = []
    for parameter in ctx.command.params:
        value = changed.get(parameter.name or "", ctx.params.get(parameter.name or ""))
        if value is None or value is False or isinstance(parameter, click.Argument):
            continue
        flag = max(parameter.opts, key=len)
        if isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(flag)
        else:
            words += [f"{flag}={each}" for each in (value if isinstance(value, list | tuple) else [value])]
    values = [
        str(ctx.params[each.name]) for each in ctx.command.params if isinstance(each, click.Argument) and each.name
    ]
    return [str(ctx.info_name), *words, "--", *values]
