"""The `flashneuron` command: one short file per sub-command, loaded when it is asked for."""

from __future__ import annotations

import importlib
import os
import sys

import click

import flashneuron
from flashneuron.errors import FlashneuronError

# Name → module under cli/ whose `command` is the click command. Help lists them in this order: the order of work.
COMMANDS = {
    "sparsity": "sparsity",
    "export": "export",
    "train-predictor": "train_predictor",
    "synth": "synth",
    "inspect": "inspect",
    "emulator": "emulator",
    "probe": "probe",
    "plan": "plan",
    "push": "push",
    "packages": "packages",
    "run": "run",
    "attach": "attach",
    "eval": "eval",
    "profile": "profile",
    "report": "report",
    "runtime": "runtime",
    "doctor": "doctor",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"flashneuron.cli.{COMMANDS[name]}").command
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(flashneuron.__version__)
def cli() -> None:
    """Run language models bigger than a phone's DRAM from its flash.

    Each command reads files and writes new ones: export, probe, plan, push, run, profile, report.
    """


def main() -> None:
    """Entry point: prints errors as one line on stderr and exits with their code."""
    # torch's OpenMP threads spin while they wait, which on a busy machine starves them: perplexity of the
    # sample took 23 to 95 s instead of 13 s. Read by the library when torch is imported, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        status = cli.main(standalone_mode=False)
        code = status if isinstance(status, int) else 0
    except click.exceptions.Abort:
        code = _fail("interrupted", 130)
    except click.ClickException as error:
        hint = f" (see {error.ctx.command_path} --help)" if isinstance(error, click.UsageError) and error.ctx else ""
        code = _fail(error.format_message().replace("\n", " ") + hint, 2)
    except FlashneuronError as error:
        code = _fail(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _fail(message: str, code: int) -> int:
    click.echo(f"flashneuron: {message}", err=True)
    return code
