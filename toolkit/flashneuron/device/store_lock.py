"""A lock on a device's store, so that two computers, or two commands of one, do not push or remove at the same time.

The device's own flock holds it for a command that runs for as long as the link does: it writes something all the
time, so that it ends when nobody is there to take it. Nothing has to be cleaned up after a lost link or a killed host.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from flashneuron.device.protocol import Device, RunningCommand, ShellResult
from flashneuron.errors import DeviceError

# mksh keeps 9 from programs unless it is redirected onto itself. $0: the lock; $1: who holds it; $2…: what runs then.
_SCRIPT = (
    'exec 9>"$0"; flock -n 9 9>&9 || exit $?; echo "$1" > "$0.owner"; shift; echo held; '
    '[ $# = 0 ] || "$@" 9>&-; printf "\\n@@ %s\\n" $?; while echo; do sleep 0.2 9>&-; done'
)
_END = b"@@ "  # and the exit code, on a line of its own
_NO_LOCK = 127  # a device without flock


@contextmanager
def locked(device: Device, *argv: str) -> Iterator[ShellResult]:
    """Runs `argv` as soon as it holds the lock, which saves a round trip, and gives its result.
    Precondition: the device's root exists. Raises DeviceError that says who holds the lock. Reading needs none.
    """
    path = str(device.root / "lock")
    owner = f"{_whoami()}, since {datetime.now().astimezone():%H:%M:%S}"
    with device.stream(["sh", "-c", _SCRIPT, path, owner, *argv]) as holder:
        lines = iter(holder)
        if next(lines, b"") != b"held":
            if holder.exit_code == _NO_LOCK:
                raise DeviceError(f"{device.name} has no flock, as Android has from 7 on; its store cannot be locked")
            said = device.shell(["cat", f"{path}.owner"]).text.strip()
            what = f"{device.name} is being pushed to or cleared by {said or 'another command'}"
            raise DeviceError(f"{what}; wait for it, or stop it, and run the command again")
        try:
            yield _result(holder, lines)
        finally:
            with suppress(DeviceError):  # the link may have gone, and the lock with it
                holder.kill()
                for _ in lines:  # to its end: the next command finds the store free
                    pass


def _result(holder: RunningCommand, lines: Iterator[bytes]) -> ShellResult:
    output = list[bytes]()
    for line in lines:
        if line.startswith(_END) and line[len(_END) :].isdigit():
            return ShellResult(b"\n".join(output), holder.stderr, min(255, int(line[len(_END) :][:4])))
        output.append(line)
    raise DeviceError(f"the lock of its store was lost (exit code {holder.exit_code}); run the command again")


def _whoami() -> str:
    user = ""
    with suppress(OSError, KeyError):
        user = getpass.getuser() + "@"
    return user + socket.gethostname()
