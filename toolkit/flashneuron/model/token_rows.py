"""One fp32 row per token, for more tokens than memory should hold."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

RESIDENT_BYTES = 256 * 2**20


class Rows(Protocol):
    """What a pass over rows needs; a Tensor [n, width] is one too."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | Tensor) -> Tensor: ...


class TokenRows:
    """Zeros [tokens, width] at first. Over RESIDENT_BYTES they live in a file of `work_dir` that is unlinked at once,
    and what was touched goes back to the system after each access: it stays in the page cache, not in this process.
    """

    def __init__(self, tokens: int, width: int, work_dir: Path | None = None) -> None:
        self._map: mmap.mmap | None = None
        size = tokens * width * 4
        if size <= RESIDENT_BYTES:
            self._rows = torch.zeros(tokens, width)
            return
        with tempfile.TemporaryFile(dir=work_dir) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an OSError here, not a fault later
            self._map = mmap.mmap(file.fileno(), size)
        self._rows = torch.frombuffer(self._map, dtype=torch.float32).view(tokens, width)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def width(self) -> int:
        return self._rows.shape[1]

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """A copy, or a view where the rows are resident."""
        if self._map is None:
            return self._rows[rows]
        copy = self._rows[rows].clone()
        self._release()
        return copy

    def __setitem__(self, rows: slice, values: Tensor) -> None:
        self._rows[rows] = values
        self._release()

    def part(self, start: int, stop: int) -> TokenRows:
        """The same rows from `start` to before `stop`."""
        part = object.__new__(TokenRows)
        part._map, part._rows = self._map, self._rows[start:stop]
        return part

    def _release(self) -> None:
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)  # of a shared file mapping: nothing is lost
