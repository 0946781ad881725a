"""RAM and flash limits of a phone, enforced by the kernel's control groups, version 1 or 2.

A limit counts as enforced only when the kernel, asked afterwards, says the number that was written.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from flashneuron.device.phones import process_start_ticks
from flashneuron.emulator.blockdev import Disk, Mount, parse_mounts

Controller = Literal["memory", "io", "cpu"]
_V1_NAMES = {"memory": "memory", "io": "blkio", "cpu": "cpu"}
SHELL_UID = 2000
_PREFIX = "flashneuron-"  # then the supervisor's pid, then the phone's name
_PAGE_SLACK = 64 * 1024  # the kernel rounds memory limits down to pages, of at most 64 KiB


@dataclass(frozen=True)
class Limits:
    ram_bytes: int
    flash_read_bytes_per_s: int
    flash_read_iops: int
    flash_write_bytes_per_s: int
    flash_write_iops: int


@dataclass(frozen=True)
class LimitState:
    """One limit of a running phone. `note` says how it is enforced, or why it is not."""

    name: str
    value: int
    enforced: bool
    note: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Hierarchy:
    version: Literal[1, 2]
    folder: Path  # where a phone's group is made


@dataclass
class PhoneGroup:
    """The groups made for one phone. Processes join by writing 0 to each of `procs`."""

    folders: list[Path] = field(default_factory=list)
    limits: list[LimitState] = field(default_factory=list)

    @property
    def procs(self) -> list[Path]:
        return [folder / "cgroup.procs" for folder in self.folders]


def find_hierarchy(controller: Controller, mounts: list[Mount], own: str) -> Hierarchy | str:
    """Where `controller` is, or why it is not to be had. `own` is the text of /proc/self/cgroup.

    In version 1 a phone's group lies in the caller's own, so that a container's limits hold for it too; in version 2,
    where a group with processes cannot have limited children, it lies at the top.
    """
    for mount in mounts:
        if mount.fs == "cgroup" and _V1_NAMES[controller] in mount.options.split(","):
            paths = [line.split(":", 2) for line in own.splitlines()]
            inside = next((path for _, names, path in paths if _V1_NAMES[controller] in names.split(",")), "/")
            folder = Path(mount.point) / inside.lstrip("/")
            return Hierarchy(1, folder if folder.is_dir() else Path(mount.point))
    for mount in mounts:
        if mount.fs == "cgroup2":
            try:
                available = (Path(mount.point) / "cgroup.controllers").read_text().split()
            except OSError:
                continue
            if controller in available:
                return Hierarchy(2, Path(mount.point))
    return f"this system's control groups have no {controller} controller"


def limit_phone(
    name: str, limits: Limits, disk: Disk | str, mountinfo: str | None = None, own: str | None = None
) -> PhoneGroup:
    """Makes the groups of phone `name` and sets what can be set. Each limit's state says what came of it.

    `mountinfo` and `own` are the texts of /proc/self/mountinfo and /proc/self/cgroup, read where they are not given.
    """
    mounts = parse_mounts(mountinfo if mountinfo is not None else Path("/proc/self/mountinfo").read_text())
    own = own if own is not None else Path("/proc/self/cgroup").read_text()
    group = PhoneGroup()

    memory = _make_group(group, "memory", name, find_hierarchy("memory", mounts, own))
    if isinstance(memory, str):
        group.limits.append(LimitState("ram", limits.ram_bytes, False, memory))
    else:
        group.limits.append(_limit_ram(memory, limits.ram_bytes))

    flash = {
        "flash_read_bandwidth": limits.flash_read_bytes_per_s,
        "flash_read_iops": limits.flash_read_iops,
        "flash_write_bandwidth": limits.flash_write_bytes_per_s,
        "flash_write_iops": limits.flash_write_iops,
    }
    io = disk if isinstance(disk, str) else _make_group(group, "io", name, find_hierarchy("io", mounts, own))
    for limit, value in flash.items():
        if isinstance(io, str) or isinstance(disk, str):
            group.limits.append(LimitState(limit, value, False, str(io)))
        else:
            group.limits.append(_limit_flash(io, limit, value, disk))
    _make_group(group, "cpu", name, find_hierarchy("cpu", mounts, own))  # for heat, later: no limit of its own
    return group


def groups_of(pid: int, name: str) -> list[Path]:
    """Those of the running phone `name`, whose supervisor is `pid`."""
    return sorted(Path("/sys/fs/cgroup").glob(f"**/{_PREFIX}{pid}-{name}"))


def limit_cores(cores: int) -> LimitState:
    """This process, and what it starts, on as many of this machine's cores as the phone has."""
    there = sorted(os.sched_getaffinity(0))
    if len(there) < cores:
        return LimitState("cores", cores, False, f"this machine has {len(there)}")
    os.sched_setaffinity(0, there[:cores])
    return LimitState("cores", cores, True, f"affinity to {cores} of this machine's {len(there)}")


def user_of() -> LimitState:
    """Whom the phone's commands run as: Android's shell user, or, in a user namespace, its only one."""
    mapped = sum(int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text().splitlines())
    if mapped > SHELL_UID:
        return LimitState("user", SHELL_UID, True, "commands run as Android's shell user")
    return LimitState("user", 0, False, "without root, commands run as the only user of a user namespace, which is you")


def remove_group(folders: list[Path], patience_s: float = 5) -> None:
    """Removes a phone's groups; what still runs in them is killed first."""
    end = time.monotonic() + patience_s
    for folder in folders:
        while folder.is_dir():
            with suppress(OSError):
                for pid in (folder / "cgroup.procs").read_text().split():
                    os.kill(int(pid), 9)
            with suppress(OSError):
                folder.rmdir()
            if time.monotonic() > end:
                break
            time.sleep(0.01)


def _make_group(group: PhoneGroup, controller: Controller, name: str, where: Hierarchy | str) -> Hierarchy | str:
    """The phone's own group for `controller`, or why there is none."""
    if isinstance(where, str):
        return where
    _sweep(where.folder)
    folder = where.folder / f"{_PREFIX}{os.getpid()}-{name}"
    try:
        if where.version == 2:
            (where.folder / "cgroup.subtree_control").write_text(f"+{controller}")
        folder.mkdir(exist_ok=True)
    except OSError as error:
        return f"cannot make the control group {folder}: {error.strerror}"
    if folder not in group.folders:
        group.folders.append(folder)
    return Hierarchy(where.version, folder)


def _sweep(folder: Path) -> None:
    """Removes the empty groups of supervisors that were killed before they could."""
    for old in folder.glob(f"{_PREFIX}*"):
        if process_start_ticks(int(old.name.removeprefix(_PREFIX).partition("-")[0])) is None:
            with suppress(OSError):
                old.rmdir()


def _limit_ram(where: Hierarchy, ram_bytes: int) -> LimitState:
    limit, swap = (
        ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        if where.version == 1
        else ("memory.max", "memory.swap.max")
    )
    try:
        (where.folder / limit).write_text(str(ram_bytes))
        with suppress(OSError):  # kernels without swap accounting lack the file; a phone without swap is what is meant
            (where.folder / swap).write_text(str(ram_bytes if where.version == 1 else 0))
        said = (where.folder / limit).read_text().strip()
    except OSError as error:
        return LimitState("ram", ram_bytes, False, f"the kernel refuses {limit}: {error.strerror}")
    held = said.isdigit() and abs(int(said) - ram_bytes) <= _PAGE_SLACK
    return LimitState("ram", ram_bytes, held, f"{limit} is {said}")


def _limit_flash(where: Hierarchy, limit: str, value: int, disk: Disk) -> LimitState:
    direction, kind = limit.split("_")[1:]
    if where.version == 1:
        file = f"blkio.throttle.{direction}_{'bps' if kind == 'bandwidth' else 'iops'}_device"
        wanted = f"{disk.number} {value}"
        written = wanted
    else:
        file = "io.max"
        wanted = f"{direction[0]}{'bps' if kind == 'bandwidth' else 'iops'}={value}"
        written = f"{disk.number} {wanted}"
    try:
        (where.folder / file).write_text(written)
        said = (where.folder / file).read_text().splitlines()
    except OSError as error:
        return LimitState(limit, value, False, f"the kernel refuses {file}: {error.strerror}")
    mine = next((line for line in said if line.startswith(f"{disk.number} ")), "")
    held = mine == wanted if where.version == 1 else wanted in mine.split()
    buffered = "; direct writes only" if where.version == 1 and direction == "write" else ""
    return LimitState(limit, value, held, f"{file} of {disk.name} is {mine or 'unset'}{buffered}")
