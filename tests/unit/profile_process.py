"""`flashneuron profile` with a made-up device, as a process of its own that may kill itself anywhere.

    profile_process.py TICK ARGUMENTS…

Ticks are the runner's events, and what Python tells of each file below the folder `out` that is opened, renamed, made
or removed. At the given one (0: none) SIGKILL comes. At the end it says how many there were, on stderr.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from fake_profile import FakeDevice

from flashneuron.cli import main, profile
from flashneuron.package.manifest import Package
from flashneuron.profile.session import Session

ticks, wanted = 0, int(sys.argv[1])


def tick(name: str) -> None:
    global ticks
    ticks += 1
    if ticks == wanted:
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "result":
        with Path("finished").open("a") as finished:
            finished.write("x")


def notice(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("open", "os.rename", "os.remove", "os.mkdir") and "out" in Path(os.fsdecode(arguments[0])).parts:
        tick(event)


def open_session(package: Package, device: str | None, progress: object) -> Session:
    return FakeDevice(device or "host", on_event=tick).session(package)


profile.open_session = open_session
sys.addaudithook(notice)
sys.argv = ["flashneuron", *sys.argv[2:]]
try:
    main.main()
finally:
    sys.stderr.write(f"{ticks} ticks\n")
