"""The process behind a running phone: sets its limits, boots it in namespaces of its own, forwards its port, cleans up.

Started by phone.py as `python -m flashneuron.emulator.supervisor PLAN`, PLAN being a JSON object, with a listening
socket on an inherited descriptor. On SIGHUP the phone starts anew, its flash as it was. It ends when the phone ends or
on SIGTERM; either way the phone's processes, mounts and control groups go with it. Even a SIGKILL here takes the phone
along (PR_SET_PDEATHSIG, unshare --kill-child).
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from flashneuron.device.phones import RunningPhone, forget_phone, process_start_ticks, record_phone
from flashneuron.emulator.blockdev import disk_of
from flashneuron.emulator.cgroup import Limits, PhoneGroup, limit_cores, limit_phone, remove_group, user_of
from flashneuron.emulator.forward import serve
from flashneuron.emulator.profiles import Profile
from flashneuron.emulator.vendor import write_vendor

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
NAMESPACES = ("--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child")  # beside the network, for unshare
_BOOT = Path(__file__).with_name("boot.sh")


@dataclass(frozen=True)
class Plan:
    """What phone.py asks for. `folder` is the phone's own; `listener` a descriptor."""

    name: str
    profile: Profile
    root: Path
    folder: Path
    port: int
    listener: int

    def dump(self) -> str:
        return json.dumps(asdict(self) | {"profile": self.profile.model_dump()}, default=str)

    @classmethod
    def load(cls, text: str) -> Plan:
        plan = json.loads(text)
        profile = Profile.model_validate(plan["profile"])
        return cls(**plan | {"profile": profile, "root": Path(plan["root"]), "folder": Path(plan["folder"])})


def main() -> None:
    plan = Plan.load(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    listener = socket.socket(fileno=plan.listener)
    data, vendor = plan.folder / "data", plan.folder / "vendor"
    group = PhoneGroup()
    phone: subprocess.Popen[bytes] | None = None
    restart = threading.Event()

    def reboot(*_: object) -> None:
        restart.set()
        if phone:
            phone.kill()  # and with it every process in its namespace

    signal.signal(signal.SIGHUP, reboot)
    try:
        group = limit_phone(plan.name, limits_of(plan.profile), disk_of(data))
        limits = [limit.as_dict() for limit in (*group.limits, limit_cores(plan.profile.cores), user_of())]
        write_vendor(vendor, plan.profile, limits)
        _leave_network()
        command = ["unshare", *NAMESPACES, "/bin/sh", str(_BOOT)]
        command += [str(plan.root), str(data), str(vendor), str(plan.port), plan.profile.name, str(user_of().value)]
        command += map(str, group.procs)
        phone = _boot(command)
        ticks = process_start_ticks(os.getpid())
        assert ticks is not None
        record_phone(RunningPhone(plan.name, plan.profile.name, plan.port, os.getpid(), ticks, limits))
        threading.Thread(target=serve, args=(listener, plan.port), daemon=True).start()
        while True:
            code = phone.wait()
            if not restart.is_set():
                sys.exit(code)
            restart.clear()
            phone = _boot(command)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts; closing alone would not
        listener.close()
        if phone:
            phone.kill()
            phone.wait()
        remove_group(group.folders)
        forget_phone(plan.name)


def _boot(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)


def limits_of(profile: Profile) -> Limits:
    return Limits(
        profile.available_ram_bytes,
        profile.flash_read_bytes_per_s,
        profile.flash_read_iops,
        profile.flash_write_bytes_per_s,
        profile.flash_write_iops,
    )


def _leave_network() -> None:
    """Into a network of its own that has only a loopback: adbd listens on every address, and asks nobody for a key."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a network namespace: " + os.strerror(ctypes.get_errno()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
