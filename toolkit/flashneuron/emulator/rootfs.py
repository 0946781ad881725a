"""The phone's root folder: adbd, toybox and mksh of Debian trixie, unpacked beside each other, with Android's paths.

Packages come by apt, from the mirror that this machine uses anyway, asked for trixie. apt verifies them with Debian's
keyring; its state is private, so nothing of the machine's own package system changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flashneuron.device.phones import emulator_folder
from flashneuron.emulator.unavailable import EmulatorUnavailable
from flashneuron.progress import Progress

_PACKAGES = ("adbd", "toybox", "mksh")
_KEYRINGS = [Path(f"/usr/share/keyrings/debian-archive-keyring.{kind}") for kind in ("pgp", "gpg")]
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
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return folder


def _build(root: Path, apt: Path, progress: Progress) -> None:
    with progress.step("fetch the phone's packages", 3, "steps") as advance:
        configuration = _write_apt_configuration(apt)
        _apt(configuration, "update")
        advance(1)
        _apt(configuration, "-y", "--no-install-recommends", "--download-only", "install", *_PACKAGES)
        advance(1)
        root.mkdir()
        for package in sorted((apt / "archives").glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(root)])
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
    commands = _run([*as_root(), chroot, str(root), "/usr/bin/toybox"]).split()
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


def _write_apt_configuration(folder: Path) -> Path:
    keyring = next((path for path in _KEYRINGS if path.is_file()), None)
    if keyring is None:
        raise EmulatorUnavailable("Debian's keyring is not here (apt-get install debian-archive-keyring)")
    for name in ("lists/partial", "archives/partial", "sources.d", "preferences.d"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={keyring}] {_mirror()} trixie main\n")
    configuration = folder / "apt.conf"
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": folder / "sources.d",
        "Dir::Etc::preferences": folder / "preferences",
        "Dir::Etc::preferencesparts": folder / "preferences.d",
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
        "APT::Sandbox::User": "root",
        "APT::Default-Release": "trixie",
        "APT::Update::Error-Mode": "any",
        "Acquire::Retries": 3,
        "Debug::NoLocking": 1,
    }
    configuration.write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
    return configuration


def _mirror() -> str:
    """The address from which this machine gets Debian's packages."""
    targets = _run(["apt-get", "indextargets", "--format", "$(SITE) $(LABEL)", "Created-By: Packages"]).splitlines()
    sites = [target.split() for target in targets]
    debian = [words[0] for words in sites if words[1:] == ["Debian"]]
    if not debian and "ID=debian" in Path("/etc/os-release").read_text().splitlines():
        debian = [words[0] for words in sites if words and "security" not in words[0]]
    if not debian:
        raise EmulatorUnavailable("apt knows no Debian mirror on this system; Debian 12 or 13 is needed")
    return debian[0]


def _apt(configuration: Path, *arguments: str) -> None:
    environment = {**os.environ, "APT_CONFIG": str(configuration), "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    _run(["apt-get", "-q", *arguments], environment)


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    except FileNotFoundError:
        raise EmulatorUnavailable(f"{command[0]} is not on this machine; Debian 12 or 13 is needed") from None
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        first = next((line for line in lines if line.startswith("E:")), lines[-1])
        what = " ".join(word for word in command if not word.startswith("-"))
        raise EmulatorUnavailable(f"{what} failed ({first.strip()})")
    return done.stdout


def _identity() -> str:
    """Changes when the recipe does, so that an old root is not taken for a new one."""
    sources = [Path(__file__), *sorted(_STUBS.glob("*.sh"))]
    return hashlib.sha256(platform.machine().encode() + b"".join(map(Path.read_bytes, sources))).hexdigest()[:12]


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
