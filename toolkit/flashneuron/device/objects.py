"""What a device's store (sync.py) holds: its objects, and which of them were verified as they are.

After a file was hashed on the device, what `stat` says of it (size, time of its last change in nanoseconds, inode) is
kept in ROOT/verified, a line an object. As long as stat says the same, the file is what was hashed; else it is hashed
again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flashneuron.device.parse import Storage, parse_df, parse_facts, split_sections
from flashneuron.device.protocol import Device, ShellResult
from flashneuron.device.shell_result import check

SLOW_S = 600.0  # for what waits for storage
VERIFIED_PART = "tmp/verified.part"  # below the root
_NAMES_OF_A_CALL = 200  # a command line has an end

STORAGE = 'echo "@@ storage"; df -k "$0"; '  # a command for `read_objects` to run first
# $0: the root. $1: a manifest, or nothing. What stat says of every object, then the record, then the manifest's bytes.
_READ = (
    'echo "@@ objects"; TZ=UTC find objects -type f -exec stat -c "%n|%s|%y|%i" {} + || exit 1; '
    'echo "@@ verified"; cat verified 2> /dev/null; echo "@@ manifest"; [ -z "$1" ] || cat "$1" 2> /dev/null; true'
)


@dataclass(frozen=True)
class Objects:
    """By SHA-256: `there`, what stat says of what lies under such a name; `verified`, what it said when that was
    hashed. `storage` is None unless STORAGE asked and the device told. `manifest`: of the one that was asked for, empty
    if it is not there.
    """

    there: Mapping[str, str]
    verified: Mapping[str, str]
    storage: Storage | None
    manifest: bytes

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of what is there."""
        return {name: int(text.partition("|")[0]) for name, text in self.there.items()}

    def unverified(self, wanted: Iterable[str]) -> list[str]:
        """Those that are not there, or not as they were when they were verified."""
        return [name for name in wanted if name not in self.there or self.there[name] != self.verified.get(name)]


def read_objects(device: Device, first: str = "", manifest: str = "", *arguments: str) -> Objects:
    """One round trip. `first`: shell commands before that, each to its end or `|| exit`, with the root as $0 and
    `arguments` from $2 on. `manifest`: a path below the root.
    """
    return parse_objects(device.shell(reading(device, first, manifest, *arguments), timeout_s=SLOW_S))


def reading(device: Device, first: str = "", manifest: str = "", *arguments: str) -> list[str]:
    """The command of read_objects, whose result is for parse_objects."""
    return ["sh", "-c", first + 'cd "$0" || exit 1; ' + _READ, str(device.root), manifest, *arguments]


def parse_objects(result: ShellResult) -> Objects:
    listed, _, content = check(result, "bring its store up to date, or list it").stdout.partition(b"@@ manifest\n")
    said = split_sections(listed.decode("utf-8", "replace"))
    there, verified, storage = (said.get(name, "") for name in ("objects", "verified", "storage"))
    return Objects(parse_facts(there), parse_facts(verified), parse_df(storage), content)


def add_verified(device: Device, digests: Iterable[str]) -> None:
    """These have just been hashed, and nothing else has changed them since. Precondition: the store is locked."""
    write_verified(device, read_objects(device), digests)
    moved = device.shell(["mv", "-f", str(device.root / VERIFIED_PART), str(device.root / "verified")])
    check(moved, "record what was verified")


def write_verified(device: Device, now: Objects, digests: Iterable[str]) -> None:
    """As `add_verified`, but the record has its temporary name still, VERIFIED_PART."""
    known = {name: text for name, text in now.verified.items() if name in now.there}
    known |= {digest: now.there[digest] for digest in digests if digest in now.there}
    device.write(
        "".join(f"{name}|{text}\n" for name, text in sorted(known.items())).encode(), device.root / VERIFIED_PART
    )


def remove_objects(device: Device, digests: Iterable[str]) -> None:
    """Precondition: the store is locked."""
    paths = [str(device.root / "objects" / digest) for digest in digests]
    for first in range(0, len(paths), _NAMES_OF_A_CALL):
        check(device.shell(["rm", "-f", *paths[first : first + _NAMES_OF_A_CALL]]), "remove files of its store")
