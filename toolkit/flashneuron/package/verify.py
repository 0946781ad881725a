"""The full check of a package: headers against the manifest, then every byte against its SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from flashneuron.errors import PackageError
from flashneuron.package.ffn_file import FfnShard
from flashneuron.package.manifest import MANIFEST, Package
from flashneuron.package.neuron_lists import read_frequency, read_places
from flashneuron.package.predictor_file import read_predictor
from flashneuron.progress import Advance, Progress, SilentProgress

_BLOCK_BYTES = 4 << 20


def verify(folder: Path | str, progress: Progress | None = None) -> Package:
    """Opens and checks everything. Errors: PackageError naming the first defect; structure comes before contents."""
    package = Package.open(folder)
    for defect in _defects(package):
        raise PackageError(defect)
    total = sum(entry.bytes for entry in package.manifest.files)
    with (progress or SilentProgress()).step("verify", total, "B") as advance:
        for entry in package.manifest.files:
            if _sha256(package.path_of(entry.path), advance) != entry.sha256:
                raise PackageError(
                    f"{package.path_of(entry.path)} differs from its SHA-256 in the manifest; export or copy it again"
                )
    return package


def _defects(package: Package) -> Iterator[str]:
    """Structural defects that Package.open does not see. Raises PackageError for a file that cannot be parsed."""
    manifest, folder = package.manifest, package.folder
    listed = {entry.path for entry in manifest.files} | {MANIFEST}
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in listed:
            yield f"{path} is not listed in {MANIFEST}; remove it"
    for name in manifest.ffn.frequency or ():
        read_frequency(package.path_of(name))
    for variant in manifest.ffn.variants:
        for name in variant.places or ():
            read_places(package.path_of(name))
        for layer, files in enumerate(variant.layers):
            for part, shards in files.parts(variant.layout).items():
                for number, name in enumerate(shards):
                    shard = FfnShard.open(package.path_of(name))
                    if (shard.layer, shard.shard, shard.geometry) != (layer, number, manifest.geometry(variant, part)):
                        yield f"{shard.path}: its header does not fit its place in {MANIFEST}; export or copy it again"
    for kind in manifest.predictors:
        for layer, facts in enumerate(kind.layers):
            predictor = read_predictor(package.path_of(facts.file))
            found = (predictor.layer, predictor.a.shape, predictor.b.shape)
            model = manifest.model
            if found != (layer, (facts.rank, model.hidden_size), (model.ffn_size, facts.rank)):
                yield f"{package.path_of(facts.file)}: its header does not fit its place in {MANIFEST}; export it again"


def _sha256(path: Path, advance: Advance) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()
