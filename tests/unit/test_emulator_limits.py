"""Which disk is throttled, and what counts as an enforced limit; folders play the kernel."""

from __future__ import annotations

import os
from pathlib import Path

from flashneuron.emulator.blockdev import Disk, disk_of, mount_of, parse_mounts, whole_disk
from flashneuron.emulator.cgroup import Hierarchy, Limits, find_hierarchy, limit_phone, remove_group

LIMITS = Limits(1 << 30, 280_000_000, 10_000, 180_000_000, 5_000)
DISK = Disk("254:0", "vda")
V1 = """31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
35 31 0:32 / {top}/memory rw,relatime - cgroup cgroup rw,memory
38 31 0:35 / {top}/blkio rw,relatime - cgroup cgroup rw,blkio
41 31 0:38 / {top}/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2 = "30 23 0:26 / {top} rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def states(limits: list[object]) -> dict[str, bool]:
    return {limit.name: limit.enforced for limit in limits}  # type: ignore[attr-defined]


def test_version_1_lies_below_the_callers_own_group(tmp_path: Path) -> None:
    (tmp_path / "memory" / "box").mkdir(parents=True)
    mounts = parse_mounts(V1.format(top=tmp_path))
    own = "7:blkio:/not/seen/here\n4:memory:/box\n0::/\n"
    assert find_hierarchy("memory", mounts, own) == Hierarchy(1, tmp_path / "memory" / "box")
    assert find_hierarchy("io", mounts, own) == Hierarchy(1, tmp_path / "blkio")


def test_version_1_writes_one_line_a_limit(tmp_path: Path) -> None:
    for name in ("memory", "blkio"):
        (tmp_path / name).mkdir()
    group = limit_phone("x", LIMITS, DISK, V1.format(top=tmp_path), "4:memory:/\n7:blkio:/\n")
    memory, blkio = group.folders
    assert (memory / "memory.limit_in_bytes").read_text() == str(1 << 30)
    assert (blkio / "blkio.throttle.read_bps_device").read_text() == "254:0 280000000"
    assert (blkio / "blkio.throttle.read_iops_device").read_text() == "254:0 10000"
    assert set(states(group.limits).values()) == {True}


def test_version_2_turns_the_controllers_on(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    group = limit_phone("x", LIMITS, DISK, V2.format(top=tmp_path), "0::/user.slice\n")
    (folder,) = group.folders
    assert folder.parent == tmp_path
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"  # the last one
    assert (folder / "memory.max").read_text() == str(1 << 30)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "io.max").read_text().startswith("254:0 ")
    assert states(group.limits)["flash_read_bandwidth"]


def test_a_system_without_controllers_says_so_for_each_limit(tmp_path: Path) -> None:
    group = limit_phone("x", LIMITS, DISK, "", "0::/\n")
    assert group.folders == []
    assert set(states(group.limits).values()) == {False}
    assert {limit.note for limit in group.limits} == {
        "this system's control groups have no memory controller",
        "this system's control groups have no io controller",
    }


def test_without_a_disk_only_ram_is_limited(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    group = limit_phone("x", LIMITS, "/x lies on tmpfs, which has no disk", V1.format(top=tmp_path), "")
    assert [limit.name for limit in group.limits if limit.enforced] == ["ram"]
    assert group.limits[1].note == "/x lies on tmpfs, which has no disk"


def test_a_number_that_the_kernel_did_not_take_is_not_enforced(tmp_path: Path) -> None:
    folder = tmp_path / f"flashneuron-{os.getpid()}-x"
    (folder / "io.max").mkdir(parents=True)  # cannot be written to
    (folder / "memory.max").symlink_to("/dev/null")  # takes everything, and says nothing back
    (tmp_path / "cgroup.controllers").write_text("io memory\n")
    group = limit_phone("x", LIMITS, DISK, V2.format(top=tmp_path), "0::/\n")
    assert set(states(group.limits).values()) == {False}
    assert "the kernel refuses io.max: Is a directory" in {limit.note for limit in group.limits}


def test_removing_takes_empty_groups_away(tmp_path: Path) -> None:
    (tmp_path / "group").mkdir()
    remove_group([tmp_path / "group", tmp_path / "never-made"])
    assert list(tmp_path.iterdir()) == []


def test_a_partition_is_looked_up_to_its_disk(tmp_path: Path) -> None:
    disk = tmp_path / "sys" / "devices" / "sda"
    (disk / "sda1").mkdir(parents=True)
    (disk / "dev").write_text("8:0\n")
    (disk / "sda1" / "dev").write_text("8:1\n")
    (disk / "sda1" / "partition").write_text("1\n")
    links = tmp_path / "sys" / "dev" / "block"
    links.mkdir(parents=True)
    (links / "8:1").symlink_to(disk / "sda1")
    assert whole_disk(os.makedev(8, 1), tmp_path / "sys") == Disk("8:0", "sda")
    assert whole_disk(os.makedev(8, 2), tmp_path / "sys") == f"the disk 8:2 is not in {tmp_path}/sys"


def test_folders_without_a_disk_are_told_by_their_file_system() -> None:
    overlay = "27 1 0:50 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/not/seen,workdir=/w"
    shared = Path("/dev/shm")
    assert os.major(shared.stat().st_dev) == 0
    assert disk_of(shared, "25 27 0:27 / /dev/shm rw - tmpfs tmpfs rw") == (
        "/dev/shm lies on tmpfs, which has no disk of its own"
    )
    assert "an overlay whose disk cannot be seen" in str(disk_of(shared, overlay))
    assert disk_of(shared, "") == "/dev/shm is on no known mount"


def test_the_topmost_of_the_longest_mounts_counts() -> None:
    text = """27 1 254:0 / / rw - ext4 /dev/vda rw
30 27 0:30 / /data rw - tmpfs first rw
31 27 0:31 / /data rw - tmpfs second rw
32 27 0:32 / /data2 rw - tmpfs other rw
33 27 0:33 / /with\\040space rw - tmpfs spaced rw
"""
    mounts = parse_mounts(text)
    assert [getattr(mount_of(Path(path), mounts), "source", None) for path in ("/data/x", "/data3", "/with space")] == [
        "second",
        "/dev/vda",
        "spaced",
    ]
