"""What a user sees of long work on stderr."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from flashneuron.cli.progress import LiveProgress, PlainProgress, make_progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_steps_speak_at_start_every_quarter_and_at_the_end() -> None:
    out, clock = io.StringIO(), Clock()
    with PlainProgress(out, clock).step("push", 4 * 2**20, "B") as advance:
        for _ in range(4):
            clock.now += 2
            advance(2**20)
    assert out.getvalue().splitlines() == [
        "push (4.00 MiB)",
        "push: 1.00 MiB of 4.00 MiB (25%)",
        "push: 2.00 MiB of 4.00 MiB (50%)",
        "push: 3.00 MiB of 4.00 MiB (75%)",
        "push: done in 8.0 s",
    ]


def test_plain_steps_speak_every_ten_seconds_however_small_the_share() -> None:
    out, clock = io.StringIO(), Clock()
    with PlainProgress(out, clock).step("train", 1000, "steps") as advance:
        for _ in range(12):
            clock.now += 1
            advance(1)
    assert "train: 10 of 1000 steps (1%)" in out.getvalue()


def test_a_fast_plain_step_is_two_lines() -> None:
    out, clock = io.StringIO(), Clock()
    with PlainProgress(out, clock).step("layers", 100) as advance:
        for _ in range(100):
            advance(1)
    assert out.getvalue().splitlines() == ["layers", "layers: done in 0.0 s"]


def test_a_failed_plain_step_does_not_say_done() -> None:
    out = io.StringIO()
    with pytest.raises(ValueError, match="boom"), PlainProgress(out).step("layers", 100):
        raise ValueError("boom")
    assert out.getvalue() == "layers\n"


def test_live_bars_nest_note_and_start_again() -> None:
    out = io.StringIO()
    progress = LiveProgress(Console(file=out, force_terminal=True, width=120, color_system=None))
    with progress.step("outer [x]", 2, "layers") as outer:
        with progress.step("inner", 2048, "B") as inner:
            inner(2048)
        progress.note("a [note]")
        outer(2)
    with progress.step("second", 1, "files") as second:
        second(1)
    shown = out.getvalue()
    for text in ("outer [x]", "inner", "2.00 KiB of 2.00 KiB", "a [note]", "2 of 2 layers", "second"):
        assert text in shown


def test_without_a_terminal_lines_are_plain_and_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with make_progress().step("hash", 10, "B") as advance:
        advance(10)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("hash (10 B)\nhash: done in")
