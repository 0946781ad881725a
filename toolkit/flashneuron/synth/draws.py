"""Pseudo-random tensors by name: the same seed and name give the same numbers on every machine.

Numbers come from the raw stream of a bit generator, byte by byte: uniform, which sums of thousands of products do not
show, and several times faster than normal ones. Work goes block by block, in memory that is used again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

BYTE_SPREAD = (256**2 / 12 - 1 / 12) ** 0.5  # standard deviation of a whole number −127.5 … 127.5 in steps of 1
_BLOCK = 1 << 20  # numbers at a time


def integers(seed: int, name: str, count: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """64 random bits each."""
    return np.asarray(_stream(seed, name).random_raw(count), np.uint64)


def blocks(seed: int, name: str, rows: int, width: int) -> Iterator[tuple[slice, Tensor]]:
    """The rows of a matrix in order, fp32, values −127.5 … 127.5. A block is valid until the next one is asked for."""
    stream, step = _stream(seed, name), max(1, _BLOCK // width)
    numbers = torch.empty(min(step, rows), width)
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        drawn = np.asarray(stream.random_raw(-(-(stop - start) * width // 8)), np.uint64).view(np.int8)
        block = numbers[: stop - start]
        block.view(-1).copy_(torch.from_numpy(drawn[: block.numel()])).add_(0.5)
        yield slice(start, stop), block


def matrix(seed: int, name: str, rows: int, width: int, spread: float) -> Tensor:
    """fp16 [rows, width] of mean 0 and standard deviation `spread`."""
    found = torch.empty(rows, width, dtype=torch.float16)
    for at, block in blocks(seed, name, rows, width):
        found[at] = block.mul_(spread / BYTE_SPREAD)
    return found


def parts(tensor: Tensor, rows: int = 256) -> Iterator[Tensor]:
    """Views of consecutive rows, to change an fp16 matrix in fp32 without a whole copy."""
    return (tensor[start : start + rows] for start in range(0, len(tensor), rows))


def _stream(seed: int, name: str) -> np.random.SFC64:
    return np.random.SFC64(list(hashlib.sha256(f"{seed} {name}".encode()).digest()))
