"""Packages on a device: listed, verified and removed, on a phone and on the host."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from flashneuron.cli import packages as cli
from flashneuron.cli.store_summary import store_json, store_table
from flashneuron.device.objects import read_objects
from flashneuron.device.packages import Store, read_store, remove_package, remove_unused, verify_package
from flashneuron.device.protocol import Device
from flashneuron.device.runner import Runner
from flashneuron.device.sync import push_package
from flashneuron.errors import FlashneuronError, InputError
from flashneuron.progress import SilentProgress

PACKAGE = Path(__file__).parents[1] / "data" / "tiny_package"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The tiny package under another name: all its files but the manifest are the same."""
    folder = tmp_path / "other"
    shutil.copytree(PACKAGE, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"name": "other"}))
    return folder


def damage(target: Device, digest: str) -> None:
    """Other bytes of the same number, as a worn flash would give."""
    path = target.root / "objects" / digest
    content = target.shell(["cat", str(path)]).stdout
    target.shell(["rm", str(path)])
    target.write(bytes([content[0] ^ 1]) + content[1:], path)


def test_a_device_that_never_saw_a_package(target: Device) -> None:
    store = read_store(target)
    assert (list(store.packages), store.unused) == ([], {})
    assert store_table(store, "host") == "no packages on host; put one there: flashneuron push PKG"
    with pytest.raises(InputError, match="no package tiny is there; there are: none"):
        store.find("tiny")


def test_packages_are_listed_and_removed_one_by_one(target: Device, runner: Runner, other: Path) -> None:
    pushed = push_package(target, PACKAGE, SilentProgress(), runner)
    push_package(target, other, SilentProgress(), runner)
    store = read_store(target)
    assert {package.name: package.state for package in store.packages} == {"tiny": "complete", "other": "complete"}
    tiny = store.find(pushed.manifest_sha256[:8])
    assert tiny.name == "tiny"
    assert tiny.total_bytes == pushed.total_bytes
    assert store.only_of(tiny) == {}, "all its files are the other's too"

    assert remove_package(target, tiny) == 0
    store = read_store(target)
    assert [package.state for package in store.packages] == ["complete"]
    assert remove_package(target, store.find("other")) == pushed.total_bytes
    assert read_objects(target).there == {}
    assert read_store(target) == Store([], {})


def test_two_of_a_name_are_told_apart_by_their_id(target: Device, runner: Runner, other: Path) -> None:
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"name": "tiny"}))
    push_package(target, PACKAGE, SilentProgress(), runner)
    push_package(target, other, SilentProgress(), runner)
    store = read_store(target)
    with pytest.raises(InputError, match=r"tiny is the name of 2 packages: .*; say which by its id"):
        store.find("tiny")
    assert store.find(store.packages[1].short_identity) is store.packages[1]


def test_what_is_damaged_is_found_removed_and_pushed_again(target: Device, runner: Runner) -> None:
    push_package(target, PACKAGE, SilentProgress(), runner)
    store = read_store(target)
    tiny = store.find("tiny")
    assert verify_package(target, runner, tiny, SilentProgress()) == []
    bad, gone, *_ = tiny.objects
    damage(target, bad)
    target.shell(["rm", str(target.root / "objects" / gone)])
    assert read_store(target).find("tiny").state == "1 files missing"
    assert verify_package(target, runner, tiny, SilentProgress()) == [bad, gone]
    assert read_store(target).find("tiny").state == "2 files missing"
    assert push_package(target, PACKAGE, SilentProgress(), runner).sent_files == 2
    assert verify_package(target, runner, tiny, SilentProgress()) == []


def test_a_damaged_manifest_is_named_and_can_be_removed(target: Device, runner: Runner) -> None:
    pushed = push_package(target, PACKAGE, SilentProgress(), runner)
    target.write(b"{}", pushed.folder / "manifest.json")
    store = read_store(target)
    (damaged,) = store.packages
    assert damaged.state.startswith("damaged manifest")
    assert sum(store.unused.values()) == pushed.total_bytes
    remove_package(target, damaged)
    assert read_store(target).packages == []


def test_what_no_package_needs_goes_when_asked(target: Device, runner: Runner) -> None:
    pushed = push_package(target, PACKAGE, SilentProgress(), runner)
    target.write(b"left over", target.root / "objects" / ("f" * 64))
    store = read_store(target)
    assert store.unused == {"f" * 64: 9}
    assert "9 B in 1 files that no package needs" in store_table(store, "host")
    assert store_json(store)["unused_bytes"] == 9
    assert remove_unused(target) == 9
    assert len(read_objects(target).there) == pushed.total_files


def test_removing_spares_what_was_pushed_since_the_store_was_read(target: Device, runner: Runner, other: Path) -> None:
    push_package(target, PACKAGE, SilentProgress(), runner)
    store = read_store(target)
    push_package(target, other, SilentProgress(), runner)  # by another host: it needs the same files
    assert remove_package(target, store.find("tiny")) == 0
    assert read_store(target).find("other").state == "complete"


def test_removing_the_unused_spares_what_a_push_has_taken_up(target: Device, runner: Runner) -> None:
    pushed = push_package(target, PACKAGE, SilentProgress(), runner)
    target.shell(["rm", "-rf", str(pushed.folder)])
    assert len(read_store(target).unused) == pushed.total_files
    push_package(target, PACKAGE, SilentProgress(), runner)  # takes them up again
    assert remove_unused(target) == 0
    assert read_store(target).find("tiny").state == "complete"


def test_the_command(target: Device, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    push_package(target, PACKAGE, SilentProgress(), runner)
    monkeypatch.setattr(cli, "open_device", lambda spec: target)
    monkeypatch.setattr(cli, "push_runner", lambda device, progress: runner)

    def call(*words: str) -> str:
        return CliRunner().invoke(cli.command, words, catch_exceptions=False).stdout

    assert "tiny" in call("list")
    (listed,) = json.loads(call("list", "--format", "json"))["packages"]
    assert listed["missing"] == 0
    assert "is whole" in call("verify", "tiny")
    damage(target, next(iter(read_store(target).find("tiny").objects)))
    with pytest.raises(FlashneuronError, match=r"1 of [0-9]+ files are damaged or missing; push it again"):
        call("verify", "tiny")
    for words in (("remove",), ("remove", "tiny", "--unused")):
        with pytest.raises(InputError, match="name a package, or give --unused"):
            call(*words)
    assert "are free again" in call("remove", "tiny")
    assert "no packages" in call("list")
