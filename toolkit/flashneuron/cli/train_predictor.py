"""`flashneuron train-predictor`: a model's predictors alone, without a package."""

from __future__ import annotations

import json
from pathlib import Path

import click

from flashneuron.cli.export_options import text_option
from flashneuron.cli.options import format_option
from flashneuron.cli.package_summary import render_predictors
from flashneuron.cli.progress import make_progress
from flashneuron.errors import InputError

_SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
_DTYPES = click.Choice(["fp32", "fp16", "bf16", "int8"])


@click.command()
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@click.option("-o", "--output", metavar="DIR", type=click.Path(path_type=Path), required=True, help="Folder to fill.")
@text_option()
@click.option("--recall", type=_SHARE, default=0.99, show_default=True, help="Share of firing neurons to predict.")
@click.option("--rank", type=click.IntRange(1, 65536), help="Rank of every predictor. Default: chosen per layer.")
@click.option("--dtype", type=_DTYPES, default="fp16", show_default=True, help="Of the files.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Order of the training text.")
@format_option("table", "json")
def command(model: Path, output: Path, texts: tuple[Path, ...], style: str, **options: object) -> None:
    """Train low-rank predictors of MODEL's neurons: DIR/layer_LLL.pred, and table.json of what they do.

    Interrupted, the same command goes on with the first missing layer. `export` does this by itself, or takes DIR by
    --predictors-from. A GPU is used if PyTorch sees one. Predictors of a dense SwiGLU model are trained by
    `export --sparsity` alone, which first chooses what neurons are silent.

    torchrun starts several processes, here or on hosts that share DIR: each passes a part of the text through the
    model, one layer in memory at a time, and trains layers of its own. The result is the same, and an interrupted
    training goes on with any number of them.

    \b
    Examples:
      flashneuron train-predictor models/sample -o predictors
      flashneuron train-predictor opt-1.3b -o predictors --text wiki.txt --recall 0.995
      torchrun --nproc-per-node 4 -m flashneuron train-predictor opt-30b -o predictors
      torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint first-host:29400 \\
        -m flashneuron train-predictor opt-66b -o /shared/predictors      # on each of both hosts
    """
    try:
        from flashneuron.export.texts import read_texts, token_sequences
        from flashneuron.model.folder import open_model
        from flashneuron.predictor.settings import PredictorSettings
        from flashneuron.predictor.team import team_of_this_process
        from flashneuron.predictor.train import refuse_dense, train_predictors
    except ModuleNotFoundError as error:
        what = f"train-predictor needs {error.name}; install the extra: pip install 'flashneuron[export]'"
        raise InputError(what) from None
    with team_of_this_process() as team:
        with team.together():
            refuse_unusable(output)
            opened = open_model(model)
            refuse_dense(opened.name, opened.spec)
            train, validation = token_sequences(read_texts(texts, opened.path), opened)
            settings = PredictorSettings.model_validate(options)
        try:
            progress = make_progress()
            table = train_predictors(opened.spec, opened.weights, train, validation, settings, output, progress, team)
        except OSError as error:
            what = f"{output} cannot be written ({error.strerror}); free some disk or choose another"
            raise InputError(what) from None
        data = table.model_dump(mode="json")
        if team.leads:
            click.echo(json.dumps(data) if style == "json" else render_predictors(data))


def refuse_unusable(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; choose another folder with -o")
    if (output.parent / "manifest.json").is_file():
        raise InputError(f"{output} is a part of a package, which is never changed; choose another folder with -o")
