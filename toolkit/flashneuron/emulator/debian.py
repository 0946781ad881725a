"""Packages and sources of Debian trixie, by apt, from the mirror that this machine uses anyway.

apt verifies them with Debian's keyring; its state is private, so nothing of the machine's own package system changes.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from flashneuron.errors import FlashneuronError

_KEYRINGS = [Path(f"/usr/share/keyrings/debian-archive-keyring.{kind}") for kind in ("pgp", "gpg")]


class DebianUnavailable(FlashneuronError):
    """No Debian here, or no network."""


class PrivateApt:
    """apt with all its state in `folder`, which must not exist yet. `kind` is deb, for `download`, or deb-src, for
    `source`. Every failure is a DebianUnavailable.
    """

    def __init__(self, folder: Path, kind: str = "deb") -> None:
        self._folder = folder
        self._configuration = _write_configuration(folder, kind)
        self._run("update")

    def download(self, *packages: str) -> list[Path]:
        """These packages and what they depend on, as files."""
        self._run("-y", "--no-install-recommends", "--download-only", "install", *packages)
        return sorted((self._folder / "archives").glob("*.deb"))

    def source(self, package: str) -> Path:
        """The archive of the upstream sources of `package`."""
        self._run("--download-only", "source", package)
        return next(self._folder.glob("*.orig.tar.*"))

    def _run(self, *arguments: str) -> None:
        environment = {**os.environ, "APT_CONFIG": str(self._configuration), "LC_ALL": "C"}
        environment["DEBIAN_FRONTEND"] = "noninteractive"
        run_tool(["apt-get", "-q", *arguments], environment, self._folder)


def _write_configuration(folder: Path, kind: str) -> Path:
    keyring = next((path for path in _KEYRINGS if path.is_file()), None)
    if keyring is None:
        raise DebianUnavailable("Debian's keyring is not here (apt-get install debian-archive-keyring)")
    for name in ("lists/partial", "archives/partial", "sources.d", "preferences.d"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"{kind} [signed-by={keyring}] {_mirror()} trixie main\n")
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
    targets = run_tool(["apt-get", "indextargets", "--format", "$(SITE) $(LABEL)", "Created-By: Packages"]).splitlines()
    sites = [target.split() for target in targets]
    debian = [words[0] for words in sites if words[1:] == ["Debian"]]
    if not debian and "ID=debian" in Path("/etc/os-release").read_text().splitlines():
        debian = [words[0] for words in sites if words and "security" not in words[0]]
    if not debian:
        raise DebianUnavailable("apt knows no Debian mirror on this system; Debian 12 or 13 is needed")
    return debian[0]


def run_tool(command: list[str], environment: dict[str, str] | None = None, folder: Path | None = None) -> str:
    """A command's output. Raises DebianUnavailable."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    except FileNotFoundError:
        raise DebianUnavailable(f"{command[0]} is not on this machine; Debian 12 or 13 is needed") from None
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        first = next((line for line in lines if line.startswith("E:")), lines[-1])
        what = " ".join(word for word in command if not word.startswith("-"))
        raise DebianUnavailable(f"{what} failed ({first.strip()})")
    return done.stdout
