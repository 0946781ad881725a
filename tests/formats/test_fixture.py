"""The fixture package is what its script writes, is valid, and is what FORMAT.md shows."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flashneuron.errors import PackageError
from flashneuron.package.ffn_file import FfnShard, Part
from flashneuron.package.manifest import Package
from flashneuron.package.neuron_lists import inverse, read_places
from flashneuron.package.predictor_file import read_predictor
from flashneuron.package.verify import verify

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
PACKAGE, GATED = DATA / "tiny_package", DATA / "tiny_gated_package"
SHARD = "ffn/bundled-none/layer_001.bundle.0001.ffn"


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def hexdump(content: bytes, start: int, stop: int) -> list[str]:
    lines = []
    for at in range(start, stop, 16):
        row = content[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:08x}  {row.hex(' ')}  |{text}|")
    return lines


def test_the_script_writes_the_committed_bytes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "tools" / "make-fixtures", tmp_path], check=True)
    for package in (PACKAGE, GATED):
        assert tree(tmp_path / package.name) == tree(package)


def test_the_fixtures_are_valid_and_small() -> None:
    for folder in (PACKAGE, GATED):
        assert sum(verify(folder).role_bytes().values()) < 400_000


def test_the_hexdump_in_format_md_is_the_fixture() -> None:
    content = (PACKAGE / SHARD).read_bytes()
    shown = "\n".join([*hexdump(content, 0, 64), "*", *hexdump(content, 16384, 16416)])
    assert shown in (ROOT / "toolkit" / "flashneuron" / "package" / "FORMAT.md").read_text()


def test_both_layouts_hold_the_same_neurons() -> None:
    package = Package.open(PACKAGE)
    bundled, split = package.manifest.ffn.variants[:2]
    for layer in range(package.manifest.model.layers):
        parts = {**bundled.layers[layer].parts("bundled"), **split.layers[layer].parts("split")}
        bundle, up, down = (
            np.concatenate([FfnShard.open(package.path_of(name)).records() for name in names])
            for names in parts.values()
        )
        assert np.array_equal(bundle, np.concatenate([up, down], axis=1))
        assert bundle.shape == (96, 64)


def test_a_gated_bundle_is_gate_up_and_down() -> None:
    package = Package.open(GATED)
    bundled, split = package.manifest.ffn.variants
    names = {**bundled.layers[0].parts("bundled"), **split.layers[0].parts("split")}
    records = {part: FfnShard.open(package.path_of(shards[0])).records() for part, shards in names.items()}
    assert list(records) == [Part.BUNDLE, Part.GATE, Part.UP, Part.DOWN]
    assert np.array_equal(records[Part.BUNDLE], np.concatenate(list(records.values())[1:], axis=1))
    assert package.manifest.model.thresholds is not None


def test_a_permuted_variant_holds_the_same_neurons_at_their_places() -> None:
    package = Package.open(PACKAGE)
    plain, _, permuted = package.manifest.ffn.variants
    assert permuted.places is not None
    for layer, name in enumerate(permuted.places):
        places = read_places(package.path_of(name))
        in_order, moved = (
            np.concatenate([FfnShard.open(package.path_of(path)).records() for path in variant.layers[layer].bundle])
            for variant in (plain, permuted)
        )
        assert not np.array_equal(moved, in_order)
        assert np.array_equal(moved[places], in_order)
        assert np.array_equal(moved, in_order[inverse(places)])


def test_predictors_read_back() -> None:
    predictor = read_predictor(PACKAGE / "predictor" / "layer_001.pred")
    assert (predictor.layer, predictor.a.shape, predictor.b.shape) == (1, (4, 32), (96, 4))


def test_a_flipped_byte_is_found_by_its_hash(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "p")
    path = tmp_path / "p" / SHARD
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(PackageError, match=rf"{SHARD} differs from its SHA-256"):
        verify(tmp_path / "p")


def test_an_unlisted_file_is_found(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "p")
    (tmp_path / "p" / "stray").write_bytes(b"")
    with pytest.raises(PackageError, match="stray is not listed"):
        verify(tmp_path / "p")
