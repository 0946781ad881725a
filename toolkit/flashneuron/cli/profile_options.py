"""Options of `flashneuron profile` alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from flashneuron.cli.options import add_settings
from flashneuron.profile.cool_down import LIMIT_S
from flashneuron.profile.settings import DRAFTING, RUNTIME

_F = TypeVar("_F", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path)
_WORKLOAD = (
    click.option("-p", "--prompt", metavar="TEXT", help="The prompt; default: text that comes with flashneuron."),
    click.option("--text", metavar="FILE", type=_FILE, help="A file to cut the prompt from."),
    click.option("--prompt-tokens", type=click.IntRange(1), help="At most so many; default: 128."),
    click.option("--max-new-tokens", type=click.IntRange(2), help="Tokens to generate; default: 256 if they fit."),
    click.option("--workload", metavar="FILE", type=_FILE, help="Several prompts and their lengths, as TOML or JSON."),
)
_MEASURING = (
    click.option("--ladder", "steps", is_flag=True, help="Measure the paper's steps, from naive to bundling."),
    click.option(
        "--repeat", type=click.IntRange(1), default=3, show_default=True, help="Runs of each, in both orders."
    ),
    click.option(
        "--cool-down", metavar="SECONDS", type=click.IntRange(0, 86_400), default=LIMIT_S, show_default=True,
        help="Before each run wait so long at most until the device is as cool as at the start; 0: do not wait.",
    ),
    click.option("--trace", is_flag=True, help="Write each run's trace beside it: RUN.trace.json; see run --trace."),
    click.option(
        "-o", "--output", metavar="DIR", type=_FILE,
        help="Folder of runs, with one by the name of each device where there are several; default: runs/NAME.",
    ),
    click.option(
        "--device", "devices", metavar="D[,…]", multiple=True,
        help="As of run; several, in a list or by several --device, are measured at the same time.",
    ),
)  # fmt: skip


def generating_list_options(function: _F) -> _F:
    """As list_options, and what drafts."""
    return add_settings((*RUNTIME, *DRAFTING), function, many=True)


def workload_options(function: _F) -> _F:
    return _add(_WORKLOAD, function)


def measuring_options(function: _F) -> _F:
    return _add(_MEASURING, function)


def _add(options: Sequence[Callable[[Any], Any]], function: _F) -> _F:
    for option in reversed(options):
        function = option(function)
    return function
