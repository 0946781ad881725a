"""The command line as a user meets it: words in; exit code, stdout and stderr out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flashneuron.cli.main import main

Cli = Callable[..., tuple[int, str, str]]


def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *first: str | Path) -> Cli:
    """What calls `flashneuron FIRST… ARGUMENTS…`."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["flashneuron", *map(str, (*first, *arguments))])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), out, err

    return call
