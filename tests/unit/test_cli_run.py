"""run, eval, profile and report as a user meets them: a real package, a runner whose events are made up."""

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from command_line import Cli, command_line
from runs import EMULATED, MIB, budget, generate_events

from flashneuron.errors import DeviceError, RunnerError
from flashneuron.package.manifest import Package
from flashneuron.profile.run_file import find_runs
from flashneuron.profile.session import Session

TINY = Path(__file__).parents[1] / "data" / "tiny_package"
Call = tuple[str, dict[str, str], str]


class FakeRunner:
    """Answers by the protocol; bytes fall as the budget rises. `fail` may raise before the n-th call's events."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.fail: Callable[[int], None] = lambda number: None

    def events(self, verb: str, keys: Mapping[str, str], stdin: bytes = b"") -> Iterator[dict[str, Any]]:
        self.calls.append((verb, dict(keys), stdin.decode()))
        self.fail(len(self.calls))
        ram = int(keys["ram"]) if "ram" in keys else None
        if verb == "budget":
            yield {"event": "budget", **budget(ram)}
        elif verb == "generate":
            count = int(keys["max_new_tokens"])
            yield from generate_events(
                keys, [7, 8, 9, 10, 11, 12, 13, 14][:count], bytes_read=40 * MIB - (ram or 40 * MIB)
            )
        else:
            ready, *_, result = generate_events(keys, [1, 2])
            yield ready
            for number, line in enumerate(stdin.decode().splitlines()):
                tokens = len(line.split()) - 1
                yield {"event": "score", "index": number, "tokens": tokens, "nll": tokens * math.log(7)}
            yield result

    @property
    def verbs(self) -> list[str]:
        return [verb for verb, _, _ in self.calls]


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeRunner:
    fake = FakeRunner()

    def open_fake(package: Package, device: str | None, progress: object) -> Session:
        if device == "nowhere:1":
            raise DeviceError("nowhere:1 does not answer")
        return Session(
            package, "127.0.0.1:5038", fake, {"package": "/p", "store": "/s"}, lambda: EMULATED, lambda: None
        )

    for module in ("run", "eval", "profile"):
        monkeypatch.setattr(f"flashneuron.cli.{module}.open_session", open_fake)
    monkeypatch.chdir(tmp_path)
    return fake


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return command_line(monkeypatch, capsys)


def decode(*ids: int) -> str:
    from flashneuron.profile.text import TextCodec

    return TextCodec.of(Package.open(TINY)).decode(ids)


def test_run_streams_text_and_keeps_numbers_on_stderr(runner: FakeRunner, cli: Cli) -> None:
    code, out, err = cli("run", TINY, "-p", "abc", "--max-new-tokens", "4", "--ram", "24M", "--window", "2")
    assert (code, out) == (0, decode(7, 8, 9, 10) + "\n")
    ((verb, keys, stdin),) = runner.calls
    assert verb == "generate"
    assert keys == {"package": "/p", "store": "/s", "ram": str(24 * MIB), "window": "2", "max_new_tokens": "4"}
    assert stdin.split()[0] == "2"
    assert "emulated phone test-phone" in err
    assert "16.0 MiB read per token" in err
    assert "ram 24.0 MiB" in err


def test_run_json_is_one_object_and_nothing_else(runner: FakeRunner, cli: Cli) -> None:
    code, out, _ = cli("run", TINY, "-p", "abc", "--max-new-tokens", "4", "--format", "json")
    data = json.loads(out)
    assert code == 0
    assert data["token_ids"] == [7, 8, 9, 10]
    assert data["text"] == decode(7, 8, 9, 10)
    assert data["stats"]["totals"]["bytes_read"] == 0
    assert data["settings"]["residency"] == "cached"
    assert data["conditions"]["emulated"]["profile"] == "test-phone"


def test_run_takes_prompts_from_files_and_drops_one_newline(runner: FakeRunner, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("abc\n")
    assert cli("run", TINY, "-f", "prompt.txt")[0] == 0
    assert cli("run", TINY, "-p", "abc")[0] == 0
    assert runner.calls[0] == runner.calls[1]


def test_run_chat_puts_the_prompt_into_the_template(runner: FakeRunner, cli: Cli, tmp_path: Path) -> None:
    package = shutil.copytree(TINY, tmp_path / "p")
    manifest = json.loads((package / "manifest.json").read_bytes())
    manifest["chat"] = {"template": "Q{{ messages[0].content }}A", "bos_token": "", "eos_token": ""}
    (package / "manifest.json").write_text(json.dumps(manifest))
    assert cli("run", package, "--chat", "-p", "abc", "--max-new-tokens", "4")[0] == 0
    ((_, _, stdin),) = runner.calls
    assert stdin.split() == ["20", "36", "37", "38", "4"], "without the prefix"
    code, out, err = cli("run", TINY, "--chat", "-p", "abc")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "has no chat template" in err
    assert len(runner.calls) == 1


def test_run_stats_shows_parts_and_layers(runner: FakeRunner, cli: Cli) -> None:
    _, _, err = cli("run", TINY, "-p", "abc", "--max-new-tokens", "4", "--stats")
    assert all(word in err for word in ("stall", "attention", "other", "window union", "64"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-p", ""], "the prompt is empty"),
        (["-p", "a" * 16], "the prompt has 17 tokens and the context holds 16"),
        (["-p", "abc", "--max-new-tokens", "13"], "at most 12 fit"),
        (["-p", "abc", "--context", "17"], "the model takes at most 16 tokens"),
        (["-p", "abc", "--window", "0"], "--window 0: expected a whole number from 1, or auto"),
        (["-p", "abc", "--ram", "abc"], "--ram: 'abc' is not a size"),
        (["-p", "abc", "--top-p", "2"], "--top-p 2: expected a number over 0, up to 1"),
        ([], "give one prompt"),
        (["-p", "abc", "-f", "x"], "give one prompt"),
        (["-f", "missing.txt"], "cannot read missing.txt"),
        (["-p", "abc", "--device", "nowhere:1"], "does not answer"),
    ],
)
def test_run_refuses_in_one_line_before_anything_runs(
    runner: FakeRunner, cli: Cli, arguments: list[str], says: str
) -> None:
    code, out, err = cli("run", TINY, *arguments)
    assert code != 0
    assert out == ""
    assert says in err
    assert err.count("\n") == 1
    assert runner.calls == []


def test_a_budget_too_small_is_one_line_and_a_table(runner: FakeRunner, cli: Cli) -> None:
    def refuse(number: int) -> None:
        raise RunnerError(
            "budget_too_small", "ram 8 MiB is below the minimum of 20 MiB; give --ram 20M", budget(8 * MIB)
        )

    runner.fail = refuse
    code, out, err = cli("run", TINY, "-p", "abc", "--ram", "8M")
    assert (code, out) == (2, "")
    first, *table = err.splitlines()
    assert first == "flashneuron: ram 8 MiB is below the minimum of 20 MiB; give --ram 20M"
    assert any(line.startswith("attention") and line.endswith("4.00 MiB") for line in table)
    assert any(line.startswith("minimum") and line.endswith("20.0 MiB") for line in table)


def test_eval_scores_every_token_once_behind_the_prefix(runner: FakeRunner, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("abcdefghij")
    code, out, _ = cli("eval", TINY, "--text", "text.txt", "--length", "5", "--format", "json")
    data = json.loads(out)
    assert code == 0
    assert data["tokens"] == 10
    assert data["perplexity"] == pytest.approx(7)
    lines = runner.calls[0][2].splitlines()
    assert [len(line.split()) for line in lines] == [5, 5, 3]
    assert all(line.startswith("2 ") for line in lines)
    assert "7.000" in cli("eval", TINY, "--text", "text.txt", "--length", "5")[1]


def test_eval_refuses_what_cannot_be_scored(runner: FakeRunner, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    for name, extra, says in [
        ("empty.txt", [], "no text to score"),
        ("latin.txt", [], "not UTF-8"),
        ("empty.txt", ["--length", "17"], "at most 16 tokens"),
    ]:
        code, _, err = cli("eval", TINY, "--text", name, "--length", "5", *extra)
        assert code == 2
        assert says in err
    assert runner.calls == []


def profile(cli: Cli, *more: str) -> tuple[int, str, str]:
    return cli("profile", TINY, "-p", "abc", "--max-new-tokens", "5", "-o", "out", *more)


def test_profile_measures_four_budgets_from_the_minimum_in_both_orders(runner: FakeRunner, cli: Cli) -> None:
    code, out, _ = profile(cli, "--repeat", "2", "--format", "json")
    assert code == 0
    asked = [keys for verb, keys, _ in runner.calls if verb == "generate"]
    assert (asked[0]["ram"], asked[0]["max_new_tokens"]) == (asked[1]["ram"], "4"), "the warm-up"
    sizes = [int(keys["ram"]) for keys in asked[1:]]
    assert sizes[:4] == sorted(set(sizes[:4]))
    assert 20 * MIB < sizes[0] < 21 * MIB
    assert sizes[3] == 40 * MIB
    assert sizes[4:] == sizes[3::-1]
    keys = asked[1]
    assert (keys["ignore_eos"], keys["context"], keys["max_new_tokens"]) == ("1", "9", "5")
    points = json.loads(out)["points"]
    assert [point["runs"] for point in points] == [2] * 4
    assert [point["bytes_read"] for point in points] == sorted((point["bytes_read"] for point in points), reverse=True)


def test_profile_goes_on_after_an_interruption(runner: FakeRunner, cli: Cli, tmp_path: Path) -> None:
    def unplug(number: int) -> None:
        if number == 5:  # the warm-up, three runs, and this
            raise DeviceError("the device went away")

    runner.fail = unplug
    arguments = ["--ram", "24M,32M", "--window", "2,auto", "--repeat", "1"]
    code, out, err = profile(cli, *arguments)
    assert (code, out) == (1, "")
    assert "the device went away" in err
    assert len(list((tmp_path / "out").iterdir())) == 3
    runner.fail = lambda number: None
    runner.calls.clear()
    code, out, err = profile(cli, *arguments)
    assert code == 0
    assert runner.verbs == ["generate"] * 2, "a warm-up and a run"
    assert "3 of 4 runs were in out already" in err
    assert len(list((tmp_path / "out").glob("*.json"))) == 4


def test_profile_ladder_is_the_papers_steps(runner: FakeRunner, cli: Cli) -> None:
    code, out, _ = profile(cli, "--ladder", "--repeat", "1")
    assert code == 0
    asked = [tuple(keys.get(n) for n in ("residency", "predictor", "window", "layout")) for _, keys, _ in runner.calls]
    assert asked[0] == asked[1], "the warm-up"
    assert asked[1:] == [
        ("naive", "none", None, "split"),
        ("hybrid", "none", None, "split"),
        ("hybrid", "lowrank", None, "split"),
        ("cached", "lowrank", "4", "split"),
        ("cached", "lowrank", "4", "bundled"),
    ]
    climb = out.partition("\nMemory\n")[0].splitlines()
    assert [line.split("  ")[0] for line in climb if line.startswith(("naive", "hybrid", "+"))] == [
        "naive", "hybrid", "+ predictor", "+ window", "+ bundling",
    ]  # fmt: skip


def test_profile_refuses_before_anything_runs(runner: FakeRunner, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments, says in [
        (["--ram", "24M,abc"], "--ram: 'abc' is not a size"),
        (["--window", "2,,4"], "--window : expected"),
        (["--ladder", "--window", "2"], "--ladder sets --window itself"),
        (["--max-new-tokens", "13"], "at most 12 fit"),
        (["-o", "file"], "is not a folder"),
    ]:
        code, out, err = profile(cli, *arguments)
        assert (code, out) == (2, "")
        assert says in err
    assert runner.calls == []


def test_ladder_without_its_layouts_tells_how_to_export(
    runner: FakeRunner, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "bundled"
    package.mkdir()
    manifest = json.loads((TINY / "manifest.json").read_text())
    manifest["ffn"]["variants"] = [v for v in manifest["ffn"]["variants"] if v["layout"] == "bundled"]
    manifest["files"] = [entry for entry in manifest["files"] if "split" not in entry["path"]]
    for entry in manifest["files"]:
        target = package / entry["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((TINY / entry["path"]).read_bytes())
    (package / "manifest.json").write_text(json.dumps(manifest))
    code, _, err = cli("profile", package, "-p", "abc", "--max-new-tokens", "5", "--ladder")
    assert code == 2
    assert "has no layout split" in err
    assert "--layout bundled,split" in err
    assert runner.calls == []


def test_report_reads_what_profile_wrote(runner: FakeRunner, cli: Cli, tmp_path: Path) -> None:
    profile(cli, "--ram", "24M,40M", "--repeat", "2")
    code, out, _ = cli("report", "out", "-o", "page.html")
    assert (code, out) == (0, "page.html\n")
    assert "<svg" in (tmp_path / "page.html").read_text()
    assert "| 24.0 MiB |" in cli("report", "out", "--format", "md")[1]
    assert len(json.loads(cli("report", "out", "--format", "json")[1])["points"]) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": "2.0"}, "has run schema '2.0'"),
        ({"kind": "other"}, "is not a run"),
        ({"tokens": [{"index": 0}]}, "is damaged: tokens.0."),
        ({"repeat": -1}, "is damaged: the run: repeat is out of range"),
        ({"started": "yesterday"}, "is damaged: started"),
        ({"started": "2026-01-01T00:00:00"}, "a time without a zone"),
    ],
)
def test_report_refuses_files_it_cannot_read(
    runner: FakeRunner, cli: Cli, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    profile(cli, "--ram", "24M", "--repeat", "1")
    (path,) = (tmp_path / "out").glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    code, out, err = cli("report", "out", "-o", "page.html")
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def test_report_of_nothing_is_refused(runner: FakeRunner, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert "no runs in none" in cli("report", "none")[2]
    assert "cannot read missing.json" in cli("report", "missing.json")[2]
    (tmp_path / "none" / "opt").mkdir()
    (tmp_path / "none" / "opt" / "run.json").write_text("{}")
    assert "no runs in none itself; name folders in it: none/opt" in cli("report", "none")[2]
    (tmp_path / "text.json").write_text("hello")
    assert "is not JSON" in cli("report", "text.json")[2]


def test_run_etdump_refuses_an_existing_folder_before_anything_runs(
    runner: FakeRunner, cli: Cli, tmp_path: Path
) -> None:
    code, out, err = cli("run", TINY, "-p", "abc", "--etdump", tmp_path)
    assert (code != 0, out, runner.calls) == (True, "", [])
    assert "exists; name another folder for --etdump" in err


@pytest.mark.parametrize(
    ("file", "says"), [(".", "is not a file; name another for --trace"), ("no/t.json", "is not a folder; make it")]
)
def test_run_trace_refuses_a_bad_name_before_anything_runs(runner: FakeRunner, cli: Cli, file: str, says: str) -> None:
    code, out, err = cli("run", TINY, "-p", "abc", "--trace", file)
    assert (code != 0, out, runner.calls, err.count("\n")) == (True, "", [], 1)
    assert says in err


def test_profile_keeps_traces_beside_their_runs(
    runner: FakeRunner, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(session: Session, file: Path | None, progress: object) -> nullcontext[dict[str, str]]:
        if file:
            file.write_text("{}")
        return nullcontext({"trace": "t"} if file else {})

    monkeypatch.setattr("flashneuron.profile.experiment.traced", made)
    asked = ("--ram", "24M", "--repeat", "1")
    for more, calls, files in (((), 2, 1), (("--trace",), 4, 3), (("--trace",), 4, 3)):
        assert profile(cli, *asked, *more)[0] == 0
        assert (len(runner.calls), len(list((tmp_path / "out").iterdir()))) == (calls, files), (
            "traced runs are others; each profile that measures warms up"
        )
    assert ["trace" in keys for _, keys, _ in runner.calls] == [False, False, False, True]
    (trace,) = (tmp_path / "out").glob("*.trace.json")
    assert trace.with_name(trace.name.replace(".trace.json", ".json")).is_file()
    assert len(find_runs([tmp_path / "out"])) == 2


def test_run_trace_needs_a_device_that_sends_files(runner: FakeRunner, cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("run", TINY, "-p", "abc", "--trace", "t.json")
    assert (code != 0, out, runner.calls, list(tmp_path.glob("t.json*"))) == (True, "", [], [])
    assert "cannot send files; run without --trace" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name runs (files or folders of them), or --etdump"),
        (["run.json", "--etdump", "d"], "name runs (files or folders of them), or --etdump"),
        (["run.json", "--etrecord", "r"], "--etrecord goes with --etdump"),
        (["--etdump", "missing"], "missing has no dumps.json"),
    ],
)
def test_report_takes_runs_or_a_profile(runner: FakeRunner, cli: Cli, arguments: list[str], says: str) -> None:
    code, out, err = cli("report", *arguments)
    assert (code != 0, out) == (True, "")
    assert says in err
