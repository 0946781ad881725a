"""Opening a package, and writing the manifest that makes a folder one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flashneuron.errors import PackageError
from flashneuron.package.atomic import atomic_write, sync_path
from flashneuron.package.schema import FORMAT_VERSION, MAX_MANIFEST_BYTES, FileEntry, Manifest, Role

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Package:
    """A folder whose manifest is sound and whose files are all there with their sizes (contents: verify.py)."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path | str) -> Package:
        """Errors: PackageError naming the first defect; `code` is as in PROTOCOL.md."""
        folder = Path(folder)
        manifest = _read_manifest(folder)
        for entry in manifest.files:
            path = folder / entry.path
            if not path.resolve().is_relative_to(folder.resolve()):
                raise PackageError(f"{path} is a link that leads out of the package; put the file itself there")
            if not path.is_file():
                raise PackageError(f"{path} is missing; the package is incomplete, export or copy it again")
            if (size := path.stat().st_size) != entry.bytes:
                raise PackageError(f"{path} has {size} bytes, expected {entry.bytes}; export or copy it again")
        return cls(folder, manifest)

    def path_of(self, name: str) -> Path:
        """Where a file of the manifest lies."""
        return self.folder / name

    def read(self, name: str) -> bytes:
        return self.path_of(name).read_bytes()

    def with_role(self, role: Role) -> list[FileEntry]:
        return [entry for entry in self.manifest.files if entry.role == role]

    def tokenizer_json(self) -> bytes:
        return self.read(self.with_role("tokenizer")[0].path)

    def role_bytes(self) -> dict[str, int]:
        """Bytes by role, in order of first appearance."""
        sizes: dict[str, int] = {}
        for entry in self.manifest.files:
            sizes[entry.role] = sizes.get(entry.role, 0) + entry.bytes
        return sizes


def parse_manifest(content: bytes, name: str = MANIFEST) -> Manifest:
    """The checked manifest. `name` stands in messages. Errors: PackageError."""
    if len(content) > MAX_MANIFEST_BYTES:
        raise PackageError(f"{name}: has {len(content)} bytes, at most {MAX_MANIFEST_BYTES} are allowed")
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{name}: is not JSON ({error}); export or copy the package again") from None
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or raw.get("format") != "flashneuron-package":
        raise PackageError(f"{name}: is not the manifest of a flashneuron package")
    if isinstance(version, int) and version > FORMAT_VERSION:
        what = f"is of format version {version}, this flashneuron reads up to {FORMAT_VERSION}"
        raise PackageError(f"{name}: {what}; use a newer flashneuron", "newer_format")
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise _first_defect(name, error) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Last step of making a package: after this the folder is one. Precondition: its other files are complete."""
    content = manifest.model_dump_json(exclude_none=True, indent=1).encode() + b"\n"
    parse_manifest(content, str(folder / MANIFEST))
    atomic_write(folder / MANIFEST, content)
    sync_path(folder)


def file_entry(folder: Path, name: str, role: Role) -> FileEntry:
    """Size and SHA-256 of a finished file."""
    path = folder / name
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(path=name, bytes=path.stat().st_size, sha256=digest, role=role)


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not folder.is_dir():
        raise PackageError(f"{folder} is not a folder; give a package made by `flashneuron export`", "not_found")
    if not path.is_file():
        what = f"{folder} has no {MANIFEST}, so it is not a (finished) package"
        raise PackageError(f"{what}; make one with `flashneuron export`", "not_found")
    with path.open("rb") as file:
        return parse_manifest(file.read(MAX_MANIFEST_BYTES + 1), str(path))


def _first_defect(name: str, error: ValidationError) -> PackageError:
    """A value of the right type outside a closed set is `unsupported`; everything else is `corrupt`."""
    defect: Any = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in defect["loc"])
    message = defect["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if defect["type"] == "literal_error" and isinstance(defect["input"], str | bool) and defect["loc"][-1] != "role":
        what = f"{where} is {json.dumps(defect['input'])}, supported here: {defect['ctx']['expected']}"
        return PackageError(f"{name}: {what}", "unsupported")
    return PackageError(f"{name}: {where + ': ' if where else ''}{message}")
