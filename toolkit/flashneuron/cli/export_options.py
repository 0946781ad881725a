"""Options that the commands which train predictors share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])


def text_option() -> Callable[[_F], _F]:
    """--text, repeatable, as `texts`: what predictors are trained on."""
    return click.option(
        "--text",
        "texts",
        type=click.Path(path_type=Path),
        multiple=True,
        help="Calibration text, UTF-8; repeatable. Default: MODEL's calibration.txt, else a text that comes along.",
    )
