"""Emulated phones: start, stop, list."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress

from flashneuron.device.phones import RunningPhone, emulator_folder, forget_phone, running_phones
from flashneuron.device.transport import RepairedTcpTransport
from flashneuron.device.wire import Wire
from flashneuron.emulator.cgroup import SHELL_UID
from flashneuron.emulator.profiles import Profile, load_profile
from flashneuron.emulator.qemu import find_qemu, needs_qemu
from flashneuron.emulator.rootfs import as_root, phone_root
from flashneuron.emulator.supervisor import NAMESPACES, Plan
from flashneuron.emulator.unavailable import EmulatorUnavailable
from flashneuron.errors import DeviceError, InputError
from flashneuron.progress import Progress

_FIRST_PORT = 5038
_ADB_SERVERS_OWN = range(5555, 5586)  # adb servers adopt whatever answers there as "emulator-…"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")
_STOP_S = 10.0


def start_phone(
    profile: str | Profile, progress: Progress, port: int | None = None, name: str | None = None
) -> RunningPhone:
    """Starts a phone on 127.0.0.1 and returns when its adbd answers. Its flash keeps what an earlier run left there.

    `name` is the profile's, with a number if that is taken. Raises EmulatorUnavailable where no phone can be emulated.
    """
    profile = load_profile(profile) if isinstance(profile, str) else profile
    name = _free_name(name or profile.name, exact=name is not None)
    with _listen(port) as listener:
        require_machine()
        if needs_qemu(profile):
            find_qemu()
        root = phone_root(progress)
        folder = emulator_folder() / "phones" / name
        (folder / "data/local/tmp").mkdir(parents=True, exist_ok=True)
        folder.parent.chmod(0o700)  # what adbd writes is open to everyone, as on a phone: here it is this user's
        if os.geteuid() == 0:
            os.chown(folder / "data/local/tmp", SHELL_UID, SHELL_UID)
        plan = Plan(name, profile, root, folder, listener.getsockname()[1], listener.fileno())
        log = folder / "supervisor.log"
        with log.open("wb") as output:
            supervisor = subprocess.Popen(
                [*as_root(), sys.executable, "-m", "flashneuron.emulator.supervisor", plan.dump()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[plan.listener],
                start_new_session=True,
            )
    try:
        Wire(RepairedTcpTransport("127.0.0.1", plan.port), name).close()
        return next(phone for phone in running_phones() if phone.name == name)
    except (DeviceError, StopIteration):
        supervisor.terminate()
        supervisor.wait()
        words = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
        raise EmulatorUnavailable(f"the phone did not come up ({words[-1]}; more in {log})") from None
    except BaseException:
        supervisor.terminate()
        raise


def stop_phone(name: str, wipe: bool = False) -> None:
    """Ends the phone `name`, and with `wipe` erases its flash."""
    phones = {phone.name: phone for phone in running_phones()}
    if name not in phones:
        raise InputError(f"no emulated phone '{name}' runs; running: {', '.join(phones) or 'none'}")
    supervisor = os.pidfd_open(phones[name].pid)
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(supervisor, number)
            if select.select([supervisor], [], [], _STOP_S)[0]:  # it has ended
                break
        forget_phone(name)
    finally:
        os.close(supervisor)
    if wipe:
        shutil.rmtree(emulator_folder() / "phones" / name, ignore_errors=True)


def _free_name(name: str, exact: bool) -> str:
    if not _NAME.fullmatch(name):
        raise InputError(f"'{name}' cannot name a phone; use small letters, digits, dots and dashes")
    taken = {phone.name for phone in running_phones()}
    if exact and name in taken:
        raise InputError(f"the phone '{name}' runs already")
    numbered = (f"{name}-{number}" for number in range(2, 1000))
    return name if name not in taken else next(other for other in numbered if other not in taken)


def _listen(port: int | None) -> socket.socket:
    """A listening socket on 127.0.0.1, on `port` or on the first free one."""
    if port is not None and (port in _ADB_SERVERS_OWN or not 1024 <= port < 65536):
        raise InputError(f"port {port} is not for phones; choose one from 1024 to 65535 outside 5555–5585")
    for candidate in [port] if port else range(_FIRST_PORT, _ADB_SERVERS_OWN.start):
        try:
            return socket.create_server(("127.0.0.1", candidate), backlog=64)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
    if port:
        raise DeviceError(f"port {port} cannot be used ({reason}); choose another, or leave --port out")
    raise DeviceError(f"no port from {_FIRST_PORT} to {_ADB_SERVERS_OWN.start - 1} is free; name one with --port")


def require_machine() -> None:
    if sys.platform != "linux":
        raise EmulatorUnavailable("it needs Linux")
    for tool, package in {"unshare": "util-linux", "mount": "util-linux", "apt-get": "apt", "dpkg-deb": "dpkg"}.items():
        if not shutil.which(tool):
            raise EmulatorUnavailable(f"{tool} is missing (Debian's package {package})")
    allowed = subprocess.run([*as_root(), "unshare", *NAMESPACES, "--net", "true"], capture_output=True, text=True)
    if allowed.returncode != 0:
        needed = "namespaces are not allowed here" if os.geteuid() == 0 else "it needs root, or user namespaces"
        raise EmulatorUnavailable(f"{needed} ({allowed.stderr.strip()})")
