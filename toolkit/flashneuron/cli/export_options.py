"""Options that say what a package is made of, shared by the commands that make packages or predictors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from pydantic import ValidationError

from flashneuron.cli.attention_options import ATTENTION_OPTIONS
from flashneuron.errors import InputError

if TYPE_CHECKING:
    from flashneuron.export.recipe import ExportRecipe

_F = TypeVar("_F", bound=Callable[..., Any])
_OPTION_OF = {"layouts": "layout", "orders": "order", "backends": "backend", "max_chunk": "max-chunk"}
_DTYPES = click.Choice(["fp32", "fp16", "bf16", "int8", "int4"])


def text_option() -> Callable[[_F], _F]:
    """--text, repeatable, as `texts`: what predictors are trained on."""
    return click.option(
        "--text",
        "texts",
        type=click.Path(path_type=Path),
        multiple=True,
        help="Calibration text, UTF-8; repeatable. Default: MODEL's calibration.txt, else a text that comes along.",
    )


def recipe_options(function: _F) -> _F:
    """What `make_recipe` reads, but for what only training needs."""
    options = (
        click.option("--dtype", type=_DTYPES, default="fp16", show_default=True, help="Of neurons."),
        *ATTENTION_OPTIONS,
        click.option(
            "--layout", metavar="L[,L]", default="bundled", show_default=True, help="bundled, split, or both."
        ),
        click.option(
            "--order", metavar="O[,O]", default="none", show_default=True, help="none, coactivation, or both."
        ),
        click.option("--predictor", type=click.Choice(["lowrank", "none"]), default="lowrank", show_default=True),
        click.option(
            "--max-chunk", type=int, default=64, show_default=True, help="Prompt tokens of one attention call."
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def make_recipe(layout: str, order: str, backend: str, contexts: str | None, **options: object) -> ExportRecipe:
    """Errors: InputError naming the option; without the packages that export needs too."""
    try:
        from flashneuron.export.recipe import ExportRecipe
    except ModuleNotFoundError as error:
        raise InputError(f"export needs {error.name}; install the extra: pip install 'flashneuron[export]'") from None
    given = {"layouts": layout, "orders": order, "backends": backend, "contexts": contexts}
    lists = {name: tuple(dict.fromkeys(text.split(","))) for name, text in given.items() if text is not None}
    try:
        return ExportRecipe.model_validate({**lists, **options})
    except ValidationError as error:
        defect = error.errors()[0]
        name = str(defect["loc"][0])
        option = _OPTION_OF.get(name, name)
        raise InputError(f"--{option} {defect['input']}: {defect['msg'].replace('Input', 'it')}") from None
