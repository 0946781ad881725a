"""Which disk a folder's bytes come from: the device on which the kernel can throttle them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mount:
    """A line of /proc/PID/mountinfo. `number` is MAJOR:MINOR; `options` are the file system's own."""

    number: str
    root: str
    point: str
    fs: str
    source: str
    options: str


@dataclass(frozen=True)
class Disk:
    number: str  # MAJOR:MINOR of the whole disk
    name: str


def parse_mounts(mountinfo: str) -> list[Mount]:
    mounts = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        words, tail = left.split(), right.split()
        if len(words) >= 6 and len(tail) >= 3:
            mounts.append(Mount(words[2], _unescape(words[3]), _unescape(words[4]), tail[0], tail[1], tail[2]))
    return mounts


def mount_of(folder: Path, mounts: list[Mount]) -> Mount | None:
    """The mount that `folder` (absolute, resolved) lies on: the longest prefix; of equals the last, which is on top."""
    best: Mount | None = None
    for mount in mounts:
        point = Path(mount.point)
        if (point == folder or point in folder.parents) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def disk_of(folder: Path, mountinfo: str | None = None, sys: Path = Path("/sys")) -> Disk | str:
    """The disk under `folder`, through partitions, overlays and btrfs; or a clause saying why there is none."""
    folder = folder.resolve()
    device = folder.stat().st_dev
    if os.major(device):
        return whole_disk(device, sys)
    mounts = parse_mounts(mountinfo if mountinfo is not None else Path("/proc/self/mountinfo").read_text())
    mount = mount_of(folder, mounts)
    if mount is None:
        return f"{folder} is on no known mount"
    if mount.fs == "overlay":
        upper = re.search(r"(?:^|,)upperdir=([^,]+)", mount.options)
        if upper and Path(upper[1]).is_dir() and Path(upper[1]) != folder:
            return disk_of(Path(upper[1]), mountinfo, sys)
        return f"{folder} lies on an overlay whose disk cannot be seen from here"
    if mount.source.startswith("/dev/") and Path(mount.source).is_block_device():
        return whole_disk(Path(mount.source).stat().st_rdev, sys)
    return f"{folder} lies on {mount.fs}, which has no disk of its own"


def whole_disk(device: int, sys: Path) -> Disk | str:
    """The disk of a block device number, which may be a partition's."""
    node = sys / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}"
    try:
        node = node.resolve(strict=True)
        if (node / "partition").exists():
            node = node.parent
        return Disk((node / "dev").read_text().strip(), node.name)
    except OSError:
        return f"the disk {os.major(device)}:{os.minor(device)} is not in {sys}"


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
