"""What a manifest must hold beyond the shared malformed cases, and how it is written and read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flashneuron.errors import PackageError
from flashneuron.package import manifest as manifests
from flashneuron.package.manifest import Package, file_entry, parse_manifest, write_manifest
from flashneuron.package.schema import MAX_MANIFEST_BYTES

TINY = Path(__file__).parents[1] / "data" / "tiny_package"
CONTENT = (TINY / "manifest.json").read_bytes()

Edit = Callable[[dict[str, Any]], Any]

DEFECTS: dict[str, tuple[Edit, str]] = {
    "wrong role": (lambda m: m["files"][0].update(role="head"), "embedding.bin has role head, expected embedding"),
    "unknown role": (lambda m: m["files"][0].update(role="spare"), "files.0.role"),
    "used twice": (lambda m: m["ffn"].update(bias=[m["ffn"]["bias"][0]] * 2), "layer_000.bias is used twice"),
    "heads": (lambda m: m["model"].update(kv_heads=3), "heads 4 is not a multiple of kv_heads 3"),
    "wide heads": (lambda m: m["model"].update(heads=4096, head_size=4096), "over the limit"),
    "too many layers": (lambda m: m["model"].update(layers=1025), "model.layers"),
    "eos outside": (lambda m: m["model"].update(eos_token_ids=[64]), "eos_token_ids has an id outside"),
    "no gate": (lambda m: m["model"].update(activation="silu"), "gated is false, but silu needs a gate"),
    "no threshold": (lambda m: m["model"].update(gated=True, activation="silu"), "thresholds are missing, with silu"),
    "gated sizes": (lambda m: m["model"].update(gated=True), "no shards of a gate"),
    "few positions": (lambda m: m["model"].update(max_context=17), "position_rows 16 are fewer"),
    "no tokenizer": (lambda m: m["files"].pop(), "exactly one file of role tokenizer"),
    "density": (lambda m: m["predictors"][0]["layers"][0].update(density=1.5), "density"),
    "shards": (lambda m: m["ffn"]["variants"][1].update(neurons_per_shard=32), "has 2 shards, expected 3"),
    "order": (lambda m: m["ffn"]["variants"][0].update(order="coactivation"), "order coactivation has no places"),
    "twice": (lambda m: m["ffn"]["variants"].append(m["ffn"]["variants"][1]), "the same layout and order"),
    "frequencies": (lambda m: m["ffn"]["frequency"].pop(), "ffn.frequency has 1 items for 2 layers"),
    "no variant": (lambda m: m["ffn"].update(variants=[]), "ffn.variants"),
    "absolute path": (lambda m: m["embedding"].update(file="/etc/passwd"), "embedding.file"),
    "boolean size": (lambda m: m["model"].update(layers=True), "model.layers"),
    "fraction": (lambda m: m["model"].update(layers=2.5), "model.layers"),
}


@pytest.mark.parametrize(("edit", "words"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_named(edit: Edit, words: str) -> None:
    document = json.loads(CONTENT)
    edit(document)
    with pytest.raises(PackageError) as caught:
        parse_manifest(json.dumps(document).encode())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


OUTSIDE = (
    *("", "/etc/passwd", "a//b", "a/", "./a", "a/../b", "..", ".", "../a", "manifest.json", "a" * 513),
    *("a b", "a\\b", "a\n", "a\0b", "\x1b[2J", "a\x7f", "\xe9", "~", "$HOME"),
)


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_stays_inside_the_package(path: str) -> None:
    document = json.loads(CONTENT)
    document["files"][0]["path"] = path
    with pytest.raises(PackageError) as caught:
        parse_manifest(json.dumps(document).encode())
    assert caught.value.code == "corrupt"
    assert str(caught.value).isprintable()


def test_unknown_keys_are_ignored() -> None:
    document = json.loads(CONTENT)
    document["model"]["future"] = document["future"] = [1]
    assert parse_manifest(json.dumps(document).encode()) == parse_manifest(CONTENT)


@pytest.mark.parametrize("content", [b"[]", b"null", b'"x"', b"\xff", b"[" * 100_000, b" " * (MAX_MANIFEST_BYTES + 1)])
def test_what_is_no_manifest(content: bytes) -> None:
    with pytest.raises(PackageError) as caught:
        parse_manifest(content)
    assert caught.value.code == "corrupt"


def test_writing_gives_the_same_bytes(tmp_path: Path) -> None:
    write_manifest(tmp_path, parse_manifest(CONTENT))
    assert (tmp_path / "manifest.json").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_an_interrupted_write_leaves_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(TINY, tmp_path / "p")
    (tmp_path / "p" / "manifest.json").unlink()

    def fail(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifests, "atomic_write", fail)
    with pytest.raises(KeyboardInterrupt):
        write_manifest(tmp_path / "p", parse_manifest(CONTENT))
    with pytest.raises(PackageError, match=r"has no manifest\.json") as caught:
        Package.open(tmp_path / "p")
    assert caught.value.code == "not_found"


def test_entries_and_places(tmp_path: Path) -> None:
    package = Package.open(TINY)
    for entry in package.manifest.files:
        assert file_entry(TINY, entry.path, entry.role) == entry
    assert package.path_of("embedding.bin") == TINY / "embedding.bin"
    assert package.role_bytes()["embedding"] == len(package.read("embedding.bin")) == 80 * 32 * 2
    assert json.loads(package.tokenizer_json())["model"]["type"] == "WordLevel"
