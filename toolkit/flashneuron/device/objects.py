"""The objects of a device's store (sync.py): which are there, and which of them were verified as they are.

After a file was hashed on the device, what `stat` says of it (size, time of its last change in nanoseconds, inode) is
kept in ROOT/verified, a line an object. As long as stat says the same, the file is what was hashed; else it is hashed
again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flashneuron.device.parse import parse_facts
from flashneuron.device.protocol import Device
from flashneuron.device.shell_result import check

_NAMES_OF_A_CALL = 200  # a command line has an end


# $0: the root. What stat says of every object, then the record. One round trip.
_READ = (
    'cd "$0" || exit 1; TZ=UTC find objects -type f -exec stat -c "%n|%s|%y|%i" {} + || exit 1; '
    "echo; cat verified 2> /dev/null; true"
)


@dataclass(frozen=True)
class Objects:
    """By SHA-256: `there`, what stat says of what lies under such a name; `verified`, what it said when that was
    hashed.
    """

    there: Mapping[str, str]
    verified: Mapping[str, str]

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of what is there."""
        return {name: int(text.partition("|")[0]) for name, text in self.there.items()}

    def unverified(self, wanted: Iterable[str]) -> list[str]:
        """Those that are not there, or not as they were when they were verified."""
        return [name for name in wanted if name not in self.there or self.there[name] != self.verified.get(name)]


def read_objects(device: Device) -> Objects:
    listed = check(device.shell(["sh", "-c", _READ, str(device.root)]), "list what it holds").text
    there, _, verified = listed.partition("\n\n") if not listed.startswith("\n") else ("", "", listed)
    return Objects(parse_facts(there), parse_facts(verified))


def add_verified(device: Device, digests: Iterable[str]) -> None:
    """These have just been hashed, and nothing else has changed them since. Precondition: the store is locked."""
    now = read_objects(device)
    known = {name: text for name, text in now.verified.items() if name in now.there}
    known |= {digest: now.there[digest] for digest in digests if digest in now.there}
    write_verified(device, known)


def write_verified(device: Device, known: Mapping[str, str]) -> None:
    part = device.root / "tmp" / "verified.part"
    device.write("".join(f"{name}|{text}\n" for name, text in sorted(known.items())).encode(), part)
    check(device.shell(["mv", "-f", str(part), str(device.root / "verified")]), "record what was verified")


def remove_objects(device: Device, digests: Iterable[str]) -> None:
    """Precondition: the store is locked."""
    paths = [str(device.root / "objects" / digest) for digest in digests]
    for first in range(0, len(paths), _NAMES_OF_A_CALL):
        check(device.shell(["rm", "-f", *paths[first : first + _NAMES_OF_A_CALL]]), "remove files of its store")
