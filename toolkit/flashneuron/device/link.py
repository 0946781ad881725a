"""What carries one service of a device (a command, a file transfer), whatever lies below: TCP, USB, an adb server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from flashneuron.device.packets import Data
from flashneuron.errors import LinkLost


class Link(Protocol):
    """`open` a service once, then `write` and `read`, then `close`. One thread at a time.

    Everything that goes wrong is a DeviceError of one line; LinkLost when the connection has gone.
    """

    @property
    def features(self) -> frozenset[str]:
        """What the device's adbd says it can: shell_v2, stat_v2 …"""
        ...

    @property
    def max_data(self) -> int:
        """Bytes that one `write` takes."""
        ...

    @property
    def is_gone(self) -> bool:
        """The connection was lost."""
        ...

    @property
    def has_input(self) -> bool:
        """The device has said something that `read` would give without waiting."""
        ...

    def open(self, service: bytes) -> None: ...

    def write(self, data: Data, timeout_s: float | None) -> None:
        """Sends all of `data`; the timeout is for silence. What the device says meanwhile waits for `read`."""
        ...

    def read(self, timeout_s: float | None) -> bytes | None:
        """The next piece of the stream; None when the device closed it. TimeoutError's DeviceError on silence."""
        ...

    def close(self) -> None: ...


Connect = Callable[[], Link]  # a new link, from any thread


def went_away(name: str, why: object) -> LinkLost:
    return LinkLost(f"the device {name} went away ({why}); reconnect it and run the command again")
