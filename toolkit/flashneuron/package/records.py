"""ETRecords beside a package, in the folder `PKG.etrecord`: what ExecuTorch's Inspector needs to tell which of the
model's operators a profile speaks of. One for each method of a program, `attention/xnnpack/layer_000/forward.etrecord`,
and `index.json`, which says of which programs by their SHA-256.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from flashneuron.errors import InputError
from flashneuron.package.atomic import atomic_write

INDEX = "index.json"


def records_folder(package: Path) -> Path:
    return package.with_name(package.name + ".etrecord")


def record_path(records: Path, program: str, method: str) -> Path:
    """`program`: its path in the package."""
    return records / program.removesuffix(".pte") / f"{method}.etrecord"


def write_index(records: Path, programs: Mapping[str, str]) -> None:
    """`programs`: SHA-256 by path in the package."""
    atomic_write(records / INDEX, json.dumps({"programs": dict(programs)}, indent=1).encode())


def find_record(records: Path, program: str, method: str, sha256: str) -> Path:
    """The record of a method of the program that has this hash. Errors: InputError."""
    try:
        known = json.loads((records / INDEX).read_bytes())["programs"][program]
    except OSError:
        raise InputError(f"{records} has no {INDEX}; name the folder that flashneuron export --etrecord made") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{records} has no ETRecords of {program}; export the package again with --etrecord") from None
    if known != sha256:
        raise InputError(
            f"the ETRecords in {records} are of another export of {program}; take those of the one that ran"
        )
    path = record_path(records, program, method)
    if not path.is_file():
        raise InputError(f"{path} is missing; export the package again with --etrecord")
    return path
