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


@dataclass(frozen=True)
class ObjectFacts:
    """`text`: everything that stat said, to be compared as a whole."""

    size: int
    text: str


def read_objects(device: Device) -> dict[str, ObjectFacts]:
    """By SHA-256, everything that lies there under such a name, verified or not."""
    form = "%n|%s|%y|%i"
    command = [
        "env",
        "TZ=UTC",
        "find",
        str(device.root / "objects"),
        "-type",
        "f",
        "-exec",
        "stat",
        "-c",
        form,
        "{}",
        "+",
    ]
    facts = parse_facts(check(device.shell(command), "list what it holds").text)
    return {name: ObjectFacts(int(text.partition("|")[0]), text) for name, text in facts.items()}


def read_verified(device: Device) -> dict[str, str]:
    """By SHA-256 the facts of when it was verified. Empty if nothing is known."""
    return parse_facts(device.shell(["cat", str(device.root / "verified")]).text)


def add_verified(device: Device, digests: Iterable[str]) -> None:
    """These have just been hashed, and nothing else has changed them since. Precondition: the store is locked."""
    there = read_objects(device)
    known = {name: text for name, text in read_verified(device).items() if name in there}
    known |= {digest: there[digest].text for digest in digests if digest in there}
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
