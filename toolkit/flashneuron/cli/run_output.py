"""What `run`, `eval` and `attach` print of a run: results on stdout, a summary on stderr."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import click

from flashneuron.profile.run_file import TokenCounters
from flashneuron.profile.session import Generation, Scores
from flashneuron.profile.text import TextCodec
from flashneuron.report.summary import generation_json, generation_line, generation_table, remarks, score_json, where
from flashneuron.report.table import text_table
from flashneuron.units import format_bytes


class GenerationOutput:
    """`style`: text, as it comes, or json, one object at the end."""

    def __init__(self, codec: TextCodec, prompt_ids: Sequence[int], style: str, stats: bool = False) -> None:
        self._stream = codec.stream(prompt_ids)
        self._live = style == "text"
        self._summary = generation_table if stats else generation_line
        self._pieces: list[str] = []

    def token(self, token: TokenCounters) -> None:
        self._show(self._stream.push(token.id))

    def finish(self, made: Generation, conditions: dict[str, Any], device: str) -> None:
        self._show(self._stream.finish())
        if self._live:
            click.echo()
            click.echo(self._summary(made, where(conditions, device)), err=True)
        else:
            click.echo(json.dumps(generation_json(made, "".join(self._pieces), conditions), ensure_ascii=False))

    def _show(self, piece: str) -> None:
        self._pieces.append(piece)
        if self._live and piece:
            click.echo(piece, nl=False)


def show_scores(scores: Scores, package: str, conditions: Mapping[str, Any], device: str, style: str) -> None:
    """`package`: its name."""
    perplexity = math.exp(scores.nll / scores.tokens)
    data = score_json(scores, perplexity, dict(conditions))
    if style == "json":
        click.echo(json.dumps(data, ensure_ascii=False))
        return
    shown = ("residency", "predictor", "window", "kv", "backend")
    rows = [("perplexity", f"{perplexity:.3f}"), ("tokens scored", str(scores.tokens))]
    rows += [("read per token", format_bytes(data["bytes_per_token"]))]
    rows += [(name, str(scores.ready.settings[name])) for name in shown if name in scores.ready.settings]
    rows += [("package", package), ("device", where(dict(conditions), device))]
    click.echo("\n".join([text_table(("measure", "value"), rows), *remarks(scores.ready)]))
