"""Commands on a device that outlive the link, one at a time, each in a folder of its own below ROOT/runs:

    request.json   what it is, for whoever attaches later: written before it starts
    stdin, out, err, pid
    exit           its exit code, written last; missing when it was killed, or the device was restarted
    lock           held for as long as it runs, by the kernel's word; runs/lock is held by whichever runs

The host follows `out` by the place it has read to. The device itself waits for the lock, so nothing is polled, and a
command that dies without a word ends the following too.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from flashneuron.device.protocol import Device
from flashneuron.device.shell_result import check
from flashneuron.errors import DeviceError

_BUSY = 75
_KEPT = 10  # finished runs that nobody has read, beside which older ones are removed
_LAST_WORDS_BYTES = 4096

# $0: the folder; $@: the command. mksh passes descriptors above 2 on only where they are named again.
_START = (
    "for tool in flock setsid; do command -v $tool > /dev/null || "
    '{ echo "it has no $tool, as Android has from 7 on" >&2; exit 1; }; done; '
    'cd "$0" && exec 8> ../lock 9> lock || exit 1; flock -n 8 8>&8 || exit 75; flock -n 9 9>&9 || exit 1; '
    'setsid sh -c \'echo $$ > pid; "$@" < stdin > out 2> err; echo $? > exit.part; mv exit.part exit\' sh "$@" '
    "8>&8 9>&9 < /dev/null > /dev/null 2>&1 &"
)
# $0: the folder; $1: the first byte that is wanted, from 1. A link that is lost ends it by HUP, with what it waits for.
_FOLLOW = (
    'cd "$0" && exec 9< lock || exit 1; until [ -e out ] || flock -n -s 9 9>&9; do sleep 0.05; done; '
    'tail -c "+$1" -f out 9>&- & tail=$!; flock -s 9 9>&9 & end=$!; trap "kill $tail $end 2> /dev/null; exit 1" HUP; '
    "wait $end; sleep 0.1; kill $tail; wait $tail 2> /dev/null; exit 0"
)
# $0: the runs' folder. A line a run: its name, "exit CODE", "running" or "died", and the request.
_LIST = (
    'cd "$0" 2> /dev/null || exit 0; '
    'for run in */; do run=${run%/}; [ -e "$run/request.json" ] || continue; state=died; '
    'if [ -e "$run/exit" ]; then state="exit $(cat "$run/exit")"; '
    'elif [ -e "$run/lock" ] && ! flock -n -s 9 9< "$run/lock"; then state=running; fi; '
    'echo "$run|$state|$(cat "$run/request.json")"; done'
)
# $0: the folder; $1: the signal. The number may be another's by now, unless the lock says that this run still has it.
_SIGNAL = 'flock -n -s 9 9< "$0/lock" || kill "-$1" "-$(cat "$0/pid")" 2> /dev/null; exit 0'
# $0: the folder; $1: seconds.
_WAIT = 'n=0; while ! flock -n -s 9 9< "$0/lock"; do [ $n -lt "$1" ] || exit 1; n=$((n+1)); sleep 0.1; done'


@dataclass(frozen=True)
class DetachedRun:
    """`state` is running, died, or exit CODE. `request` is what `start` was given."""

    name: str
    state: str
    request: Mapping[str, Any]

    @property
    def is_running(self) -> bool:
        return self.state == "running"


def start(device: Device, argv: Sequence[str], stdin: bytes, request: Mapping[str, Any]) -> str:
    """Returns the run's name. Raises DeviceError if another is running, saying what to do."""
    name = uuid.uuid4().hex[:12]
    folder = _folder(device, name)
    device.write(stdin, folder / "stdin")
    device.write(json.dumps(request).encode(), folder / "request.json")
    begun = device.shell(["sh", "-c", _START, str(folder), *argv])
    if begun.exit_code == _BUSY:
        remove(device, name)
        running = next((run for run in list_runs(device) if run.is_running), None)
        what = f" ({running.name}, since {running.request.get('started', '?')})" if running else ""
        how = "follow it by 'flashneuron attach', or end it by 'flashneuron attach --stop'"
        raise DeviceError(f"{device.name} is busy with another run{what}; {how}")
    check(begun, "start the runner")
    _prune(device, name)
    return name


def follow(device: Device, name: str, place: int) -> Iterator[bytes]:
    """Lines of its output from byte `place` on, as they come, until it ends; the last one may be cut short.

    Raises LinkLost when the device goes away; the run does not end by that.
    """
    with device.stream(["sh", "-c", _FOLLOW, str(_folder(device, name)), str(place + 1)]) as running:
        yield from running


def rest(device: Device, name: str, place: int) -> bytes:
    """Its output from byte `place` on, so far."""
    out = str(_folder(device, name) / "out")
    return check(device.shell(["tail", "-c", f"+{place + 1}", out], timeout_s=600), "read the run's output").stdout


def outcome(device: Device, name: str) -> tuple[int | None, bytes]:
    """Its exit code (None: it died without one) and the end of its stderr."""
    folder = _folder(device, name)
    code = device.shell(["cat", str(folder / "exit")]).text.strip()
    words = device.shell(["tail", "-c", str(_LAST_WORDS_BYTES), str(folder / "err")]).stdout
    return (int(code) if code.isdecimal() and len(code) < 4 else None), words


def stdin_of(device: Device, name: str) -> bytes:
    return check(device.shell(["cat", str(_folder(device, name) / "stdin")]), "read what the run was asked").stdout


def list_runs(device: Device) -> list[DetachedRun]:
    """Running, and finished ones whose results were not taken."""
    listed = check(device.shell(["sh", "-c", _LIST, str(device.root / "runs")]), "list its runs").text
    return sorted(parse_runs(listed), key=lambda run: str(run.request.get("started", "")))


def parse_runs(listed: str) -> list[DetachedRun]:
    """Lines `NAME|STATE|REQUEST`; a request that cannot be read is empty."""
    runs = []
    for line in listed.splitlines():
        name, _, left = line.partition("|")
        state, _, text = left.partition("|")
        try:
            request = json.loads(text)
        except (ValueError, RecursionError):
            request = None
        runs.append(DetachedRun(name, state, request if isinstance(request, dict) else {}))
    return runs


def stop(device: Device, name: str) -> None:
    """Ends it: politely first, within 2 s by force, its children too."""
    folder = str(_folder(device, name))
    for signal, tenths in (("TERM", "20"), ("KILL", "50")):
        device.shell(["sh", "-c", _SIGNAL, folder, signal])
        if device.shell(["sh", "-c", _WAIT, folder, tenths]).exit_code == 0:
            return


def remove(device: Device, name: str) -> None:
    device.shell(["rm", "-rf", str(_folder(device, name))])


def _prune(device: Device, new: str) -> None:
    finished = [run.name for run in list_runs(device) if not run.is_running and run.name != new]
    for name in finished[:-_KEPT]:
        remove(device, name)


def _folder(device: Device, name: str) -> PurePosixPath:
    return device.root / "runs" / name
