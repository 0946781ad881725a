"""Progress on stderr: a live bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich import progress as bars
from rich.console import Console

from flashneuron.progress import Advance, Progress
from flashneuron.units import format_bytes

PLAIN_SECONDS, PLAIN_SHARE = 10.0, 0.25  # a plain step speaks after so much time or work, whichever comes first


def make_progress() -> Progress:
    console = Console(stderr=True, highlight=False)
    return LiveProgress(console) if console.is_terminal else PlainProgress(sys.stderr)


def amount(value: float, unit: str) -> str:
    """1.5 GiB, 12 layers, 3."""
    return format_bytes(value) if unit == "B" else f"{value:.4g} {unit}".rstrip()


def share(done: float, total: float, unit: str) -> str:
    """1.5 GiB of 3 GiB, 4 of 12 layers."""
    return f"{amount(done, unit if unit == 'B' else '')} of {amount(total, unit)}"


class PlainProgress:
    """One line when a step starts, one about every 10 s or 25 % (at most one a second), one with its seconds."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._clock = out, clock

    def note(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    @contextmanager
    def step(self, title: str, total: float, unit: str = "") -> Iterator[Advance]:
        start = said_at = self._clock()
        done = said = 0.0
        self.note(f"{title} ({amount(total, unit)})" if unit else title)

        def advance(by: float) -> None:
            nonlocal done, said, said_at
            done += by
            waited = self._clock() - said_at
            if done < total and (waited >= PLAIN_SECONDS or (waited >= 1 and done - said >= PLAIN_SHARE * total)):
                said, said_at = done, said_at + waited
                self.note(f"{title}: {share(done, total, unit)} ({done / total:.0%})")

        yield advance
        self.note(f"{title}: done in {self._clock() - start:.1f} s")


class LiveProgress:
    """Bars that stand while any step is open and leave one line each behind."""

    def __init__(self, console: Console) -> None:
        self._bars = bars.Progress(
            "{task.description}", bars.BarColumn(30), "{task.fields[shown]}", bars.TimeElapsedColumn(),
            bars.TimeRemainingColumn(), console=console,
        )  # fmt: skip
        self._open = 0

    def note(self, text: str) -> None:
        self._bars.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str, total: float, unit: str = "") -> Iterator[Advance]:
        self._bars.start()
        self._open += 1
        task = self._bars.add_task(title.replace("[", r"\["), total=total, shown="")

        def advance(by: float) -> None:
            state = self._bars.tasks[self._bars.task_ids.index(task)]
            rate = f", {amount(state.speed, unit)}/s" if state.speed and unit else ""
            shown = f"{share(state.completed + by, total, unit)}{rate}"
            self._bars.update(task, advance=by, shown=shown)

        try:
            yield advance
        finally:
            self._open -= 1
            if not self._open:
                self._bars.stop()
                for finished in self._bars.task_ids:  # printed for good by stop(): the next step starts afresh
                    self._bars.remove_task(finished)
