"""Options that several commands share, with the same names everywhere, and the one way a refused budget is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from flashneuron.errors import RunnerError
from flashneuron.profile.run_file import Budget
from flashneuron.profile.settings import CHANGING, CONTEXT, DRAFTING, MAX_NEW_TOKENS, RUNTIME, SAMPLING, Setting
from flashneuron.report.table import budget_table

_F = TypeVar("_F", bound=Callable[..., Any])

package_argument = click.argument("package", metavar="PKG", type=click.Path(path_type=Path))
device_option = click.option(
    "--device",
    metavar="D",
    help="HOST:PORT, a serial of adb devices, usb:SERIAL, or host for this machine; default: the only one there.",
)


def format_option(*names: str) -> Callable[[_F], _F]:
    """--format with the first name as default."""
    return click.option(
        "--format", "style", type=click.Choice(names), default=names[0], show_default=True, help="Form of the output."
    )


def runtime_options(function: _F) -> _F:
    """Where bytes come from: --ram … --io-threads, one value each."""
    return add_settings(RUNTIME, function)


def generating_options(function: _F) -> _F:
    """What drafts, and how many tokens there are: of `run` alone."""
    ignore = click.option("--ignore-eos", is_flag=True, default=None, help="Go on after the end-of-text token.")
    return add_settings((*DRAFTING, CONTEXT, MAX_NEW_TOKENS), ignore(function))


def sampling_options(function: _F) -> _F:
    """And budgets that change on the way: what only generating takes."""
    return add_settings((*CHANGING, *SAMPLING), function)


def list_options(function: _F) -> _F:
    """The runtime options, each a list: --ram 2G,3G,4G. Runs are the cross product."""
    return add_settings(RUNTIME, function, many=True)


def split_lists(texts: Mapping[str, Any]) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Given list options as their items (empty ones too: they are refused where they are parsed), and the others."""
    many = {setting.name for setting in (*RUNTIME, *DRAFTING)}
    lists = {name: str(text).split(",") for name, text in texts.items() if name in many and text is not None}
    return lists, {name: text for name, text in texts.items() if name not in many}


@contextmanager
def budget_explained() -> Iterator[None]:
    """Puts the table of what needs how much below the one line of a budget that is too small."""
    try:
        yield
    except RunnerError as error:
        try:
            table = budget_table(Budget.model_validate(error.detail)) if error.code == "budget_too_small" else None
        except ValidationError:
            table = None
        raise RunnerError(error.code, f"{error}\n{table}", error.detail) if table else error from None


def add_settings(settings: Iterable[Setting], function: _F, many: bool = False) -> _F:
    for setting in reversed(list(settings)):
        metavar = f"{setting.metavar}[,…]" if many else setting.metavar
        function = click.option(setting.flag, setting.name, metavar=metavar, help=setting.help)(function)
    return function
