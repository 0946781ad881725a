"""profile's options as a user meets them: what they compute, and nonsense refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Cli, command_line
from fake_profile import TINY, FakeDevice
from runs import MIB, budget

from flashneuron.errors import RunnerError
from flashneuron.package.manifest import Package
from flashneuron.profile.session import Session


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeDevice:
    fake = FakeDevice()

    def open_session(package: Package, device: str | None, progress: object) -> Session:
        return fake.session(package)

    monkeypatch.setattr("flashneuron.cli.profile.open_session", open_session)
    monkeypatch.chdir(tmp_path)
    return fake


@pytest.fixture
def profile(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return command_line(monkeypatch, capsys, "profile", TINY)


def test_without_lengths_the_papers_are_measured_as_far_as_they_fit(device: FakeDevice, profile: Cli) -> None:
    code, _, err = profile("--ram", "24M", "--repeat", "1")
    assert code == 0
    assert "5 tokens in instead of 128, since the context holds 16; 11 tokens out instead of 256" in err.splitlines()[0]
    keys, stdin = device.generated[-1]
    assert (keys["max_new_tokens"], keys["context"], len(stdin.split())) == ("11", "16", 5)


def test_a_workload_file_measures_each_prompt_at_each_point(device: FakeDevice, profile: Cli, tmp_path: Path) -> None:
    (tmp_path / "chat.toml").write_text(
        'prompts = [{text = "abc", name = "short"}, {file = "essay.txt", prompt_tokens = 7}]\nmax_new_tokens = 5\n'
    )
    (tmp_path / "essay.txt").write_text("to be or not to be")
    code, out, err = profile("--workload", "chat.toml", "--ram", "24M,40M", "--repeat", "2", "--format", "json")
    assert code == 0
    runs = [(keys["ram"], len(stdin.split())) for keys, stdin in device.generated[1:]]
    small, large = str(24 * MIB), str(40 * MIB)
    assert runs[:4] == [(small, 4), (small, 7), (large, 4), (large, 7)]
    assert runs[4:] == runs[3::-1], "the other order"
    assert {keys["context"] for keys, _ in device.generated} == {"12"}, "room for the longest: one KV cache for all"
    points = json.loads(out)["points"]
    assert sorted(point["facts"]["prompt"].partition(" (")[0] for point in points) == [
        "chat: essay.txt, 7 tokens", "chat: essay.txt, 7 tokens", "chat: short, 4 tokens", "chat: short, 4 tokens",
    ]  # fmt: skip
    assert "run 2 of 8: chat: essay.txt, ram 24.0 MiB" in err


def test_json_tells_of_each_run_its_memory_and_how_it_began(device: FakeDevice, profile: Cli) -> None:
    _, out, _ = profile("--ram", "24M", "--repeat", "1", "--cool-down", "7", "--format", "json")
    (run,) = json.loads(out)["runs"]
    assert Path(run["file"]).is_file()
    assert {"peak_rss_bytes", "rss_anon_bytes", "vm_swap_bytes", "major_faults"} <= run["memory"].keys()
    assert (run["cool_down"]["state"], run["cool_down"]["limit_s"], run["warm_up"]["tokens"]) == ("untold", 7, 4)


def test_the_table_tells_the_memory_of_each_run(device: FakeDevice, profile: Cli) -> None:
    _, out, _ = profile("--ram", "24M", "--repeat", "2")
    heading, _, *rows = out.partition("\nMemory\n")[2].splitlines()
    assert heading.split() == ["RAM", "run", "peak", "RSS", "RssAnon", "VmSwap", "major", "faults", "started"]
    assert [row.split()[-2:] for row in rows] == [["not", "known"]] * 2


def test_files_are_the_names_of_the_runs(device: FakeDevice, profile: Cli, tmp_path: Path) -> None:
    _, out, _ = profile("--ram", "24M", "--repeat", "2", "-o", "out", "--format", "files")
    assert sorted(out.splitlines()) == sorted(f"out/{path.name}" for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--ram", "0"], "--ram: '0' is not a size"),
        (["--ram", "-1"], "--ram: '-1' is not a size"),
        (["--ram", "24M,-3G"], "--ram: '-3G' is not a size"),
        (["--ram", "lots"], "--ram: 'lots' is not a size"),
        (["--ram", ""], "--ram: '' is not a size"),
        (["--ram", "24M,"], "--ram: '' is not a size"),
        (["--cool-down", "-1"], "Invalid value for '--cool-down'"),
        (["--cool-down", "nan"], "Invalid value for '--cool-down'"),
        (["--repeat", "0"], "Invalid value for '--repeat'"),
        (["--max-new-tokens", "1"], "Invalid value for '--max-new-tokens'"),
        (["-p", ""], "the prompt is empty"),
        (["-p", "abc", "--text", "x"], "give -p or --text, not both"),
        (["--workload", "missing.toml"], "cannot read missing.toml"),
        (["--workload", "w.toml", "-p", "abc"], "leave out -p, or --workload"),
        (["--workload", "w.toml", "--max-new-tokens", "4"], "leave out --max-new-tokens, or --workload"),
        (["--workload", "w.toml"], "w: prompt 1: --max-new-tokens 99: the prompt has 4 tokens"),
        (["--workload", "bad.toml"], "bad.toml: prompts: Field required"),
        (["--device", ","], "--device: expected a device"),
    ],
)
def test_nonsense_is_one_line_and_nothing_runs(
    device: FakeDevice, profile: Cli, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "w.toml").write_text('prompts = [{text = "abc", max_new_tokens = 99}]')
    (tmp_path / "bad.toml").write_text("")
    code, out, err = profile(*arguments)
    last = err.splitlines()[-1]
    assert (code, out) == (2, "")
    assert last.startswith("flashneuron: ")
    assert says in last
    assert device.calls == []


def test_a_budget_below_the_minimum_is_one_line_and_the_table(device: FakeDevice, profile: Cli) -> None:
    def refuse(name: str) -> None:
        raise RunnerError("budget_too_small", "ram 8 MiB is below the minimum of 20 MiB", budget(8 * MIB))

    device.on_event = refuse
    code, out, err = profile("-p", "abc", "--max-new-tokens", "4", "--ram", "8M")
    assert (code, out) == (2, "")
    assert "flashneuron: ram 8 MiB is below the minimum of 20 MiB" in err.splitlines()
    assert [line.split()[0] for line in err.splitlines()[-3:]] == ["minimum", "all", "asked"]


def test_an_unknown_device_is_one_line(profile: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = profile("-p", "abc", "--max-new-tokens", "4", "--device", "no-such-phone")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "'no-such-phone' is not a device" in err
