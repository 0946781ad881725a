"""How long work reports where it is, without knowing who shows it. `cli/progress.py` shows it on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[float], None]


class Progress(Protocol):
    def step(self, title: str, total: float, unit: str = "") -> AbstractContextManager[Advance]:
        """One piece of work of `total` units ("B" for bytes, "layers", …); call the result with what was just done."""
        ...

    def note(self, text: str) -> None:
        """One line worth reading, above the bars."""
        ...


class SilentProgress:
    """Progress for callers that show none."""

    @contextmanager
    def step(self, title: str, total: float, unit: str = "") -> Iterator[Advance]:
        yield lambda done: None

    def note(self, text: str) -> None:
        pass
