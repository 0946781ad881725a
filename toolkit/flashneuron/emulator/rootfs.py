"""The phone's root folder: adbd, toybox and mksh of Debian trixie, unpacked beside each other, with Android's paths.

Packages come by apt, without a change to the machine's own package system (debian.py).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flashneuron.device.phones import emulator_folder
from flashneuron.emulator.debian import DebianUnavailable, PrivateApt, run_tool
from flashneuron.emulator.unavailable import EmulatorUnavailable
from flashneuron.progress import Progress

_PACKAGES = ("adbd", "toybox", "mksh")
_STUBS = Path(__file__).with_name("stubs")
_FOLDERS = ("proc", "sys", "dev", "tmp", "data", "vendor", "system/bin")
_SHELL_USER = "shell:x:2000:2000:shell:/data/local/tmp:/system/bin/sh\n"


def phone_root(progress: Progress) -> Path:
    """The root folder, built on the first call. It is only ever mounted read-only, so that all phones share it."""
    folder = emulator_folder() / f"root-{_identity()}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(folder.with_suffix(".lock")):
        if not folder.is_dir():
            partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix="partial-"))
            try:
                _build(partial / "root", partial / "apt", progress)
                (partial / "root").rename(folder)
            except DebianUnavailable as error:
                raise EmulatorUnavailable(str(error)) from None
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return folder


def _build(root: Path, apt: Path, progress: Progress) -> None:
    with progress.step("fetch the phone's packages", 3, "steps") as advance:
        debian = PrivateApt(apt)
        advance(1)
        packages = debian.download(*_PACKAGES)
        advance(1)
        root.mkdir()
        for package in packages:
            run_tool(["dpkg-deb", "--extract", str(package), str(root)])
        _lay_out(root)
        advance(1)


def _lay_out(root: Path) -> None:
    """Android's folders and names over Debian's files."""
    for name in ("bin", "sbin", "lib", "lib64"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/:/system/bin/sh\n" + _SHELL_USER)
    (root / "etc" / "group").write_text("root:x:0:\nshell:x:2000:\n")
    (root / "etc" / "os-release").write_text('PRETTY_NAME="emulated phone (adbd, toybox and mksh of Debian trixie)"\n')
    (root / "usr/bin/sh").unlink(missing_ok=True)
    (root / "usr/bin/sh").symlink_to("mksh")

    programs = root / "system" / "bin"
    chroot = str(shutil.which("chroot") or "/usr/sbin/chroot")
    commands = run_tool([*as_root(), chroot, str(root), "/usr/bin/toybox"]).split()
    for command in {*commands, "toybox"} - {"sh"}:
        (programs / command).symlink_to("/usr/bin/toybox")
    (programs / "sh").symlink_to("/usr/bin/mksh")
    for stub in _STUBS.glob("*.sh"):
        target = programs / stub.stem
        target.unlink(missing_ok=True)
        shutil.copyfile(stub, target)
        target.chmod(0o755)


def as_root() -> list[str]:
    """What a command begins with to be root, if only in a user namespace."""
    return [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]


def _identity() -> str:
    """Changes when the recipe does, so that an old root is not taken for a new one."""
    sources = [Path(__file__), Path(__file__).with_name("debian.py"), *sorted(_STUBS.glob("*.sh"))]
    return hashlib.sha256(platform.machine().encode() + b"".join(map(Path.read_bytes, sources))).hexdigest()[:12]


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
