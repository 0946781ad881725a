"""What can happen to a link, as data: drawn at random, or said by a person. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal["cut", "stall", "drop", "corrupt"]
Direction = Literal["to_device", "from_device"]
KINDS: tuple[Kind, ...] = ("cut", "stall", "drop", "corrupt")


@dataclass(frozen=True)
class Fault:
    """Happens once, when byte `at` of all that went in its direction goes by, whichever connection it is on.

    cut: the connection ends. stall: it carries nothing any more, in either direction, but stays open. drop: `size`
    bytes are lost. corrupt: bit `size` % 8 of the byte is flipped.
    """

    kind: Kind
    direction: Direction
    at: int
    size: int = 1


def random_fault(seed: int, to_device: int, from_device: int) -> Fault:
    """Same seed, same fault. The limits: about how many bytes go each way when nothing happens."""
    draw = random.Random(seed)
    direction: Direction = draw.choice(("to_device", "from_device"))
    most = to_device if direction == "to_device" else from_device
    # Half of them among the first and smaller exchanges, handshakes and commands, which a few files' bytes would hide.
    at = draw.randrange(most) if draw.random() < 0.5 else int(most ** draw.random())
    return Fault(draw.choice(KINDS), direction, at, draw.choice((1, 2, 7, 24, 1000)))


def damaged(data: bytes, start: int, fault: Fault) -> bytes:
    """`data`, whose first byte is byte `start` of its direction, after a fault that drops or corrupts."""
    place = fault.at - start
    if fault.kind == "drop":
        return data[:place] + data[place + fault.size :]
    if fault.kind == "corrupt":
        return data[:place] + bytes([data[place] ^ 1 << fault.size % 8]) + data[place + 1 :]
    return data
