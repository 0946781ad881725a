"""`flashneuron run`: text from a prompt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flashneuron.cli.options import (
    budget_explained,
    device_option,
    format_option,
    generating_options,
    package_argument,
    runtime_options,
    sampling_options,
)
from flashneuron.cli.progress import make_progress
from flashneuron.cli.run_output import GenerationOutput
from flashneuron.package.manifest import Package
from flashneuron.profile.chat import encode_turn
from flashneuron.profile.drafts import open_drafts, push_drafts
from flashneuron.profile.etdump import check_dump_folder, generate
from flashneuron.profile.session import open_session
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.text import TextCodec
from flashneuron.profile.trace import check_trace_file, traced
from flashneuron.profile.workload import fit, read_prompt


@click.command()
@package_argument
@click.option("-p", "--prompt", metavar="TEXT", help="The text to continue; - reads it from stdin.")
@click.option("-f", "--file", type=click.Path(path_type=Path), help="A file with the text to continue.")
@click.option("--chat", is_flag=True, help="Put the prompt as a question, by the model's own chat template.")
@runtime_options
@generating_options
@sampling_options
@device_option
@format_option("text", "json")
@click.option("--etdump", metavar="DIR", type=Path, help="Profile attention operator by operator into the folder DIR.")
@click.option("--trace", metavar="FILE", type=Path, help="Write what each thread did when, for ui.perfetto.dev.")
@click.option("--stats", is_flag=True, help="Also show where the time went and each layer's cache, on stderr.")
def command(package: Path, prompt: str | None, file: Path | None, device: str | None, style: str, **more: Any) -> None:
    """Continue a prompt (--chat: answer it) with the package PKG on a device, pushing first what the device lacks.

    The text goes to stdout as it comes, a summary to stderr. One newline at the end of a file or of stdin is dropped.
    Ctrl+C ends the run on the device too. A run whose link is lost goes on there: see flashneuron attach.

    \b
    Examples:
      flashneuron run sample.fnpkg -p "In the beginning" --temperature 0.8 --top-k 40
      flashneuron run smollm2.fnpkg --chat -p "What is the capital of France?"
      flashneuron run sample.fnpkg -f prompt.txt --ram 24M --format json
      flashneuron run smol.fnpkg -f prompt.txt --ram 256M --kv int8 --gate-first on --stats
      flashneuron run smol.fnpkg -f prompt.txt --ram-at 64:192M,96:256M   # or as memory allows: --follow-memory 1G
      flashneuron run big.fnpkg -f prompt.txt --ram 2G --draft small.fnpkg
      flashneuron run sample.fnpkg -p "In the beginning" --etdump operators   # then: report --etdump operators
      flashneuron run sample.fnpkg -p "In the beginning" --ram 24M --trace run.trace.json  # open in ui.perfetto.dev
    """
    stats, etdump, trace, chat = (more.pop(name) for name in ("stats", "etdump", "trace", "chat"))
    settings = RunSettings.parse(more)
    if etdump:
        check_dump_folder(etdump)
    if trace:
        check_trace_file(trace)
    opened = Package.open(package)
    drafts, codec = open_drafts(opened, [settings]), TextCodec.of(opened)
    text = read_prompt(prompt, file, sys.stdin.buffer)
    ids = encode_turn(opened, codec, text) if chat else codec.encode_prompt(text)
    settings = fit(settings, len(ids), opened.manifest.model.max_context)
    progress = make_progress()
    with open_session(opened, device, progress) as bare, budget_explained():
        session = push_drafts(bare, drafts, progress)
        output = GenerationOutput(codec, ids, style, stats)
        with traced(session, trace, progress) as keys:
            made = generate(session, settings, ids, output.token, etdump, keys)
        output.finish(made, session.conditions(), session.device)
