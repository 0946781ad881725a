"""`flashneuron eval`: perplexity through the runtime itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flashneuron.cli.options import budget_explained, device_option, format_option, package_argument, runtime_options
from flashneuron.cli.progress import make_progress
from flashneuron.cli.run_output import show_scores
from flashneuron.errors import InputError
from flashneuron.package.manifest import Package
from flashneuron.profile.session import open_session
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.text import TextCodec
from flashneuron.profile.workload import read_text, windows


@click.command()
@package_argument
@click.option("--text", type=click.Path(path_type=Path), required=True, help="UTF-8 text to score.")
@click.option("--tokens", type=click.IntRange(0), default=4096, show_default=True, help="Tokens of it; 0: all.")
@click.option(
    "--length", type=click.IntRange(2), default=256, show_default=True, help="Tokens of a window, prefix included."
)
@runtime_options
@device_option
@format_option("table", "json")
def command(package: Path, text: Path, tokens: int, length: int, device: str | None, style: str, **texts: Any) -> None:
    """Perplexity of PKG on a text, every token given the ones before it in its window, computed on the device.

    \b
    Example:
      flashneuron eval sample.fnpkg --text heldout.txt --tokens 0 --predictor none
    """
    settings = RunSettings.parse(texts)
    opened = Package.open(package)
    codec, model = TextCodec.of(opened), opened.manifest.model
    if length > model.max_context:
        raise InputError(f"--length {length}: the model takes at most {model.max_context} tokens")
    ids = codec.encode(read_text(text))
    sequences = windows(ids[: tokens or None], codec.prefix_ids, length)
    if not sequences:
        raise InputError(f"{text} has no text to score; give a longer one")
    progress = make_progress()
    with open_session(opened, device, progress) as session, budget_explained():
        with progress.step("score", sum(len(sequence) - 1 for sequence in sequences), "tokens") as advance:
            scores = session.score(settings, sequences, advance)
        conditions, place = session.conditions(), session.device
    show_scores(scores, opened.manifest.name, conditions, place, style)
