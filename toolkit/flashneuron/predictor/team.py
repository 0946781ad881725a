"""Several processes that make predictors together, as torchrun starts them; one is a team too.

Each captures its share of the text, which later layers need whole before they can go on, and each trains layers of its
own. Between processes go captured rows and small facts, over gloo, so that no GPU needs room for them. What is written
goes to one folder that all of them see.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from flashneuron.errors import FlashneuronError
from flashneuron.model.token_rows import TokenRows

ROWS_AT_ONCE = 4096
PATIENCE = timedelta(days=1)  # for a slower process; one that ended is noticed at once
LAST_WORDS = timedelta(seconds=10)
_T = TypeVar("_T")


class Team:
    """Methods are called by all processes in the same order. Where another process ended: FlashneuronError."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """This process is the one that prints, and that writes what is not a layer's."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process's part of `count` things; the parts of all, in order of rank, are the whole."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around work without communication: where it fails in one process, all raise; the others FlashneuronError."""
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        lines = self.gather(None if failure is None else (str(failure) or type(failure).__name__).split("\n", 1)[0])
        if failure is not None:
            raise failure
        for rank, line in enumerate(lines):
            if line is not None:
                raise FlashneuronError(f"{line} (in process {rank} of {self.size})")

    def gather(self, value: _T) -> list[_T]:
        """Everybody's value, by rank."""
        if self.size == 1:
            return [value]
        values: list[_T] = [value] * self.size
        with _answered():
            dist.all_gather_object(values, value)
        return values

    def tell(self, value: _T) -> _T:
        """The value of the process that leads."""
        return self.gather(value)[0]

    def collect(self, rows: TokenRows, owner: int, work_dir: Path) -> TokenRows | None:
        """The rows of all, in order of rank, in the process `owner`; None in the others. A team of one gets `rows`."""
        if self.size == 1:
            return rows
        counts, width = self.gather(len(rows)), rows.width
        whole: TokenRows | None = None
        with self.together():
            if self.rank == owner:
                whole = TokenRows(sum(counts), width, work_dir)
        at = 0
        for rank, count in enumerate(counts):
            for start in range(0, count, ROWS_AT_ONCE):
                stop = min(start + ROWS_AT_ONCE, count)
                if whole is not None:
                    part = rows[start:stop] if rank == owner else _received(stop - start, width, rank)
                    whole[at + start : at + stop] = part
                elif self.rank == rank:
                    with _answered():
                        dist.send(rows[start:stop].contiguous(), owner)
            at += count
        return whole


@contextmanager
def team_of_this_process() -> Iterator[Team]:
    """The processes that a launcher started with this one, else this one alone. An error that ends all is raised in the
    one that leads; the others end quietly after it.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) > 1):
        yield Team()
        return
    dist.init_process_group("gloo", timeout=PATIENCE)
    team = Team(dist.get_rank(), dist.get_world_size())
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    try:
        yield team
    except (Exception, KeyboardInterrupt) as error:
        if team.leads:
            raise
        _wait_for_the_leader()
        if isinstance(error, FlashneuronError | KeyboardInterrupt):
            raise SystemExit(getattr(error, "exit_code", 130)) from None
        raise
    dist.destroy_process_group()


def _wait_for_the_leader() -> None:
    """The launcher ends all when the first process has ended, so the one with something to say must be that."""
    with suppress(RuntimeError):
        if (word := dist.irecv(torch.empty(1), 0)) is not None:
            word.wait(LAST_WORDS)


def _received(count: int, width: int, source: int) -> torch.Tensor:
    part = torch.empty(count, width)
    with _answered():
        dist.recv(part, source)
    return part


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except RuntimeError:
        what = "another process of this training ended, and said why if it could; the same command goes on from there"
        raise FlashneuronError(what) from None
