"""Drafts on the host: which packages fit together, where the runner finds them, and what is said of a run with one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from command_line import Cli, command_line
from runs import EMULATED, generate_events

from flashneuron.errors import InputError
from flashneuron.package.manifest import Package
from flashneuron.profile.drafts import open_drafts
from flashneuron.profile.session import PushedDraft, Session
from flashneuron.profile.settings import RunSettings
from flashneuron.report.summary import generation_line

TINY = Path(__file__).parents[1] / "data" / "tiny_package"


class Recorded:
    """A runner that drafts: 5 tokens in 2 rounds."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str]]] = []

    def events(self, verb: str, keys: Mapping[str, str], stdin: bytes = b"") -> Iterator[dict[str, Any]]:
        self.calls.append((verb, dict(keys)))
        *events, result = generate_events(keys, [1, 2, 3, 4, 5])
        yield from events
        yield {**result, "rounds": 2, "drafted": 6, "accepted": 2}


def another(folder: Path, change: str) -> Path:
    """The tiny package with one change."""
    copy = shutil.copytree(TINY, folder / change)
    if change == "vocabulary":
        manifest = json.loads((copy / "manifest.json").read_bytes())
        facts = manifest["model"]
        facts["vocab_size"] += 1
        embedding = next(entry for entry in manifest["files"] if entry["path"] == "embedding.bin")
        rows = facts["vocab_size"] - 1 + manifest["embedding"]["position_rows"]
        row_bytes = embedding["bytes"] // rows
        embedding["bytes"] += row_bytes
        with (copy / "embedding.bin").open("ab") as file:
            file.write(bytes(row_bytes))
        (copy / "manifest.json").write_text(json.dumps(manifest))
    if change == "tokenizer":
        path = copy / "tokenizer.json"
        swapped = path.read_text().replace('"y"', '"?"').replace('"z"', '"y"').replace('"?"', '"z"')
        assert swapped != path.read_text()
        path.write_text(swapped)
    return copy


def test_a_draft_of_another_tokenizer_is_refused_in_one_line(tmp_path: Path) -> None:
    package = Package.open(TINY)
    for change, says in (("vocabulary", "has a vocabulary of"), ("tokenizer", "has another tokenizer than")):
        with pytest.raises(InputError, match=says) as caught:
            open_drafts(package, [RunSettings(draft=str(another(tmp_path, change)))])
        assert "\n" not in str(caught.value)
    same = str(another(tmp_path, "nothing"))
    assert list(open_drafts(package, [RunSettings(draft=same), RunSettings(), RunSettings(draft=same)])) == [same]


def test_the_runner_is_told_where_the_draft_lies_on_the_device() -> None:
    runner = Recorded()
    places = {"small.fnpkg": PushedDraft("/packages/abc", "abc")}
    session = Session(
        Package.open(TINY), "phone", runner, {"package": "/p"}, lambda: EMULATED, lambda: None, drafts=places
    )
    made = session.generate(RunSettings(draft="small.fnpkg", draft_tokens=3), [2])
    assert runner.calls == [("generate", {"package": "/p", "draft": "/packages/abc", "draft_tokens": "3"})]
    assert "draft: 2 of 6 tokens accepted, 2.0 tokens a round" in generation_line(made, "a phone")
    session.generate(RunSettings(), [2])
    assert "draft" not in runner.calls[-1][1]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return command_line(monkeypatch, capsys)


def test_run_refuses_a_draft_before_it_looks_for_a_device(cli: Cli, tmp_path: Path) -> None:
    draft = another(tmp_path, "vocabulary")
    code, out, err = cli("run", TINY, "-p", "abc", "--draft", draft, "--device", "nowhere:1")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "has a vocabulary of" in err
    code, _, err = cli("run", TINY, "-p", "abc", "--draft", tmp_path / "missing", "--device", "nowhere:1")
    assert code != 0
    assert "missing" in err
