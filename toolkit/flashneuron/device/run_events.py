"""Events of a detached run, from its beginning to its end, across lost links."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from flashneuron.device import detached
from flashneuron.device.protocol import Device
from flashneuron.device.runner_words import explain_death, is_event, parse_event
from flashneuron.errors import DeviceError, LinkLost

_T = TypeVar("_T")
_PATIENCE_S = 120.0  # a phone that restarts its Wi-Fi or is plugged in again comes back within this


@dataclass(frozen=True)
class Patience:
    """How long a device that has gone is waited for. Time is injected for tests."""

    seconds: float = _PATIENCE_S
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic


def events_of(device: Device, name: str, verb: str, patience: Patience | None = None) -> Iterator[dict[str, Any]]:
    """Each event once, however often the link is lost in between.

    Raises RunnerError for its `error` event, DeviceError if it ends without saying why, LinkLost when the device stays
    away; in that case it goes on there.
    """
    patience = patience or Patience()
    for line in _lines(device, name, patience):
        yield parse_event(line)
    code, words = _retry(lambda: detached.outcome(device, name), patience, device, name)
    if code is None:
        raise DeviceError(f"run {name} was ended on {device.name}, or the device restarted; run it again")
    if code != 0:
        raise DeviceError(explain_death(verb, code, words))


def _lines(device: Device, name: str, patience: Patience) -> Iterator[bytes]:
    place = 0
    while True:
        try:
            for line in detached.follow(device, name, place):
                if not is_event(line):
                    break  # cut short when the run ended: the rest comes below
                place += len(line) + 1
                yield line
            break
        except LinkLost as error:
            _come_back(device, name, patience, error)
    for line in _rest(device, name, patience, place).splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield line


def _rest(device: Device, name: str, patience: Patience, place: int) -> bytes:
    return _retry(lambda: detached.rest(device, name, place), patience, device, name)


def _retry(ask: Callable[[], _T], patience: Patience, device: Device, name: str) -> _T:
    while True:
        try:
            return ask()
        except LinkLost as error:
            _come_back(device, name, patience, error)


def _come_back(device: Device, name: str, patience: Patience, lost: LinkLost) -> None:
    """Returns when the device answers again."""
    end, pause_s = patience.now() + patience.seconds, 0.1
    while True:
        try:
            device.shell(["true"], timeout_s=10)
            return
        except DeviceError:
            if patience.now() >= end:
                how = f"the run goes on there; when it is back: flashneuron attach {name}"
                raise LinkLost(f"{str(lost).partition(';')[0]}; {how}") from lost
            patience.sleep(pause_s)
            pause_s = min(5.0, pause_s * 2)
