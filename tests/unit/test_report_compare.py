"""Comparisons: which points are the same thing, what makes conditions unequal, and when a change is more than noise."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import EMULATED, HOST, MIB, make_run

from flashneuron.cli.main import main
from flashneuron.errors import InputError
from flashneuron.profile.run_file import Run, write_run
from flashneuron.report.compare import Comparison, Side, compare
from flashneuron.report.compare_render import render_comparison
from flashneuron.report.ratios import LATENCY, QUANTITIES, ratio_of

PHONE: dict[str, Any] = {
    **EMULATED,
    "android": "14",
    "kernel": "5.15",
    "storage_total_bytes": 100 << 30,
    "storage_free_bytes": 5 << 30,
    "thermal": {"status": "none", "temperatures_c": {"CPU": 40.5}},
    "battery": {"level_percent": 90, "temperature_c": 30.5, "powered": True, "saver": False},
}


def repeats(*wall_us: int, ram: int = 24, **options: Any) -> list[Run]:
    return [make_run(ram * MIB, repeat, wall, **options) for repeat, wall in enumerate(wall_us)]


def compared(a: Sequence[Run], b: Sequence[Run], even_if_unequal: bool = False) -> Comparison:
    return compare(Side("a", a), Side("b", b), even_if_unequal)


def changed(run: Run, **values: Any) -> Run:
    """With other values of fields: "package__sha256" is a field within a field."""
    data = run.model_dump()
    for path, value in values.items():
        *outer, last = path.split("__")
        place = data
        for name in outer:
            place = place[name]
        place[last] = value
    return Run.model_validate(data)


def test_ratios_are_of_medians_of_whole_runs() -> None:
    a = [make_run(repeat=0, wall_us=1000), make_run(repeat=1, wall_us=9000), make_run(repeat=2, wall_us=2000)]
    b = [make_run(repeat=repeat, wall_us=4000, bytes_read=4096) for repeat in range(3)]
    found = {quantity.name: ratio_of(quantity, a, b) for quantity in QUANTITIES}
    assert (found["latency_us"].a, found["latency_us"].b) == (2025, 4025)  # tokens add 10 to 40 µs
    assert found["latency_us"].ratio == 4025 / 2025
    assert found["tokens_per_s"].ratio == pytest.approx(2025 / 4025)
    assert found["bytes_read"].ratio == 0.5
    assert found["bytes_read"].verdict == "less"
    assert found["peak_rss_bytes"].ratio == 1


def test_the_interval_spans_all_ratios_where_runs_are_few() -> None:
    found = ratio_of(LATENCY, repeats(1000, 1100, 1200), repeats(2000, 2400, 2200))
    assert (found.low, found.high) == (pytest.approx(2025 / 1225), pytest.approx(2425 / 1025))
    assert found == ratio_of(LATENCY, repeats(1000, 1100, 1200), repeats(2000, 2400, 2200))  # a fixed seed


@pytest.mark.parametrize(
    ("b", "latency", "rate"),
    [
        ((500, 510, 505), "faster", "faster"),
        ((2000, 2010, 2005), "slower", "slower"),
        ((990, 1030, 1005), "within noise", "within noise"),
        ((500, 510), "within noise", "within noise"),  # too few runs to know the noise
    ],
)
def test_a_verdict_needs_a_change_beyond_the_noise(b: tuple[int, ...], latency: str, rate: str) -> None:
    (pair,) = compared(repeats(1000, 1010, 1005), repeats(*b)).pairs
    assert pair.verdict == latency
    assert pair.ratios["tokens_per_s"].verdict == rate
    assert pair.too_few_runs == (len(b) == 2)


def test_equal_things_are_seldom_called_different() -> None:
    rng, runs, wrong = np.random.default_rng(7), 6, 0
    for _ in range(100):
        draws = [repeats(*(int(1000 * factor) for factor in rng.normal(1, 0.05, runs))) for _ in range(2)]
        wrong += ratio_of(LATENCY, *draws).verdict != "within noise"
    assert wrong <= 8


def test_nothing_over_nothing_is_no_ratio() -> None:
    read, none = ([make_run(repeat=r, bytes_read=size) for r in range(3)] for size in (4096, 0))
    quantity = next(quantity for quantity in QUANTITIES if quantity.name == "bytes_read")
    assert ratio_of(quantity, none, read).ratio is None
    assert ratio_of(quantity, none, none).verdict == "within noise"
    gone = ratio_of(quantity, read, none)
    assert (gone.ratio, gone.low, gone.high, gone.verdict) == (0, 0, 0, "less")
    render_comparison(compared(none, read), "html")


def test_points_are_paired_by_budget_and_by_what_a_grid_varied() -> None:
    a = [run for window in (2, 4) for ram in (24, 30) for run in repeats(1000, ram=ram, window=window)]
    b = [run for window in (4, 8) for ram in (30, 40) for run in repeats(1000, ram=ram, window=window)]
    found = compared(a, b)
    assert [pair.label for pair in found.pairs] == ["30.0 MiB, window 4"]
    assert found.only_a == ["24.0 MiB, window 2", "24.0 MiB, window 4", "30.0 MiB, window 2"]
    assert len(found.only_b) == 3


def test_steps_of_the_ladder_are_paired_by_name_whatever_the_budget() -> None:
    a = [make_run(ram * MIB, step=step) for ram, step in ((24, "naive"), (24, "hybrid"))]
    b = [make_run(ram * MIB, step=step) for ram, step in ((30, "hybrid"), (30, "+ predictor"))]
    found = compared(a, b)
    assert [(pair.label, pair.a.ram_bytes, pair.b.ram_bytes) for pair in found.pairs] == [
        ("hybrid", 24 * MIB, 30 * MIB)
    ]


def test_sides_without_a_common_point_are_refused() -> None:
    with pytest.raises(InputError, match=r"no point is on both sides: a has 24\.0 MiB; b has 30\.0 MiB"):
        compared(repeats(1000), repeats(1000, ram=30))
    with pytest.raises(InputError, match="no run of b decoded a token"):
        compared(repeats(1000), [changed(make_run(), tokens=[])])


def conditions(**values: Any) -> dict[str, Any]:
    return {**PHONE, **values}


EMULATION = {"profile": "test-phone", "limits": [{"name": "ram", "value": 1 << 30, "enforced": True}]}


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (lambda run: make_run(conditions=conditions(model="Other")), "model (Test Phone against Other)"),
        (lambda run: make_run(conditions=conditions(soc="T2")), "soc (T1 against T2)"),
        (lambda run: make_run(conditions=conditions(storage_total_bytes=50 << 30)), "storage total (100 GiB"),
        (lambda run: make_run(conditions=conditions(android="15")), "android (14 against 15)"),
        (lambda run: make_run(conditions=conditions(kernel="6.1")), "kernel (5.15 against 6.1)"),
        (lambda run: make_run(conditions=conditions(thermal={"status": "severe"})), "thermal status (none against"),
        (lambda run: make_run(conditions=conditions(battery={"saver": True})), "battery saver (False against True)"),
        (lambda run: make_run(conditions=conditions(emulated=None)), "device (emulated phone: test-phone against 127"),
        (lambda run: make_run(conditions=conditions(emulated=EMULATION)), "limits (it tells of no limits against enf"),
        (lambda run: make_run(conditions=conditions(soc=None)), "soc (T1 against unknown)"),
        (lambda run: changed(run, package__sha256="cd" * 32), "package (tiny (abababab) against tiny (cdcdcdcd))"),
        (lambda run: changed(run, versions={"flashneuron": "9"}), "flashneuron (0 against 9)"),
        (lambda run: changed(run, workload__prompt_ids=[2, 5, 7]), "prompt (golden prompt, 3 tokens"),
        (lambda run: changed(run, workload__max_new_tokens=9), "new tokens (5 against 9)"),
        (lambda run: changed(run, ready__direct_io=False), "direct_io (on against off)"),
        (lambda run: make_run(conditions=PHONE, overlap="off"), "overlap (unknown against off)"),
        (lambda run: make_run(conditions=PHONE, window=4), "window (auto against 4)"),
    ],
)
def test_unequal_conditions_are_refused_by_name(other: Callable[[Run], Run], says: str) -> None:
    a = make_run(conditions=PHONE)
    with pytest.raises(InputError) as refused:
        compared([a], [other(a)])
    message = str(refused.value)
    assert message.startswith("a and b differ in ")
    assert says in message
    assert "--even-if-unequal" in message
    assert "\n" not in message
    marked = compared([a], [other(a)], even_if_unequal=True)
    assert marked.differences
    page, text = render_comparison(marked, "html"), render_comparison(marked, "md")
    assert "<li>unequal conditions</li>" in page
    assert text.startswith("**UNEQUAL CONDITIONS**")
    data = json.loads(render_comparison(marked, "json"))
    assert data["marks"][0] == "unequal conditions"
    assert [row["name"] for row in data["unequal"]] == [difference.name for difference in marked.differences]


def test_what_changes_from_minute_to_minute_is_no_difference() -> None:
    later = conditions(
        device="127.0.0.1:5555", ram_available_bytes=5, storage_free_bytes=7,
        thermal={"status": "none", "temperatures_c": {"CPU": 44.5}},
        battery={**PHONE["battery"], "level_percent": 20, "temperature_c": 35.5},
    )  # fmt: skip
    assert compared([make_run(conditions=PHONE)], [make_run(conditions=later)]).differences == []


def test_many_differences_make_one_short_line() -> None:
    b = make_run(conditions=HOST, overlap="off", order="none", kv="int8", layout="split")
    with pytest.raises(InputError, match=r"and \d+ more; measure both alike") as refused:
        compared([make_run(conditions=PHONE)], [b])
    assert len(str(refused.value)) < 600


def test_every_form_shows_ratio_interval_and_verdict() -> None:
    found = compared(repeats(1000, 1010, 1005), repeats(500, 510, 505))
    assert "B is faster at 1 of 1 point" in render_comparison(found, "html")
    assert "0.51 <span>[0.51–0.52]</span> faster</td>" in render_comparison(found, "html")
    text = render_comparison(found, "md")
    assert "EMULATED PHONE" in text
    assert "| 24.0 MiB | faster | 1.03 | 0.53 | 0.51 [0.51–0.52] faster |" in text
    (point,) = json.loads(render_comparison(found, "json"))["points"]
    assert point["verdict"] == "faster"
    assert point["latency_us"]["low"] < point["latency_us"]["ratio"] < point["latency_us"]["high"] < 1
    assert point["runs"] == {"a": 3, "b": 3}


def test_few_runs_are_said_to_be_few() -> None:
    assert "1 of 1 points have fewer than 3 runs" in render_comparison(compared(repeats(1), repeats(1)), "md")


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)
    for folder, factor in (("before", 1), ("after", 2)):
        (tmp_path / folder).mkdir()
        for run in repeats(1000 * factor, 1010 * factor, 1005 * factor):
            write_run(run, tmp_path / folder / f"{run.repeat}.json")
    (tmp_path / "none").mkdir()

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["flashneuron", "report", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out = capsys.readouterr()
        return int(str(ended.value.code)), out.out, out.err

    return call


def test_the_command_compares_folders_and_files(cli: Any, tmp_path: Path) -> None:
    assert cli("--compare", "before", "after") == (0, "report.html\n", "")
    assert "B is slower at 1 of 1 point" in (tmp_path / "report.html").read_text()
    code, out, _ = cli("--compare", "before/0.json", "after/0.json", "--format", "json")
    assert code == 0
    assert json.loads(out)["a"] == "before/0.json"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--compare", "before", "none"], "no runs in none"),
        (["--compare", "before", "missing"], "cannot read missing"),
        (["--compare", "before", "after", "before"], "or --compare with two"),
        (["before", "--even-if-unequal"], "--even-if-unequal goes with --compare"),
        (["--compare", "before"], "requires 2 arguments"),
    ],
)
def test_the_command_refuses_in_one_line(cli: Any, tmp_path: Path, arguments: list[str], says: str) -> None:
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "report.html").exists()
