"""Reports: complete in themselves, honest about where their numbers are from, in every form."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from curves import bursts
from runs import EMULATED, HOST, MIB, budget, make_run

from flashneuron.errors import InputError
from flashneuron.profile.flash_curve import CurvePoint, FlashCurve, curve_path, write_curve
from flashneuron.profile.run_file import Budget, Run
from flashneuron.report.flash_plot import shown_threads
from flashneuron.report.render import render_html, render_json, render_markdown, render_text
from flashneuron.report.table import budget_table, markdown_table, text_table

LIMITS = [{"name": "flash_read_iops", "value": 9000, "enforced": False, "note": "no io controller"}]
PHONE = {**EMULATED, "emulated": {"profile": "test-phone", "title": "Test phone 8 GB", "limits": LIMITS}}


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    sizes = [(24, 9000), (30, 4000), (40, 0)]
    found = [make_run(ram * MIB, r, 1000 + read, read, conditions=PHONE) for ram, read in sizes for r in (0, 1)]
    steps = [("naive", 90000), ("hybrid", 45000), ("+ predictor", 9000)]
    return found + [make_run(None, 0, 5000, read, step, conditions=PHONE) for step, read in steps]


@pytest.fixture(scope="module")
def page(runs: list[Run]) -> str:
    return render_html(runs)


def test_html_is_one_file_without_references(page: str) -> None:
    references = re.findall(r'(?:href|src|url)\s*[=(]\s*["\']?([^"\')> ]+)', page)
    assert all(reference.startswith("#") for reference in references)
    assert "<script" not in page
    assert "@import" not in page


def test_plots_are_wellformed_and_take_their_colours_from_the_page(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 10
    seen: set[str] = set()
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        ids = {node.get("id", "") for node in root.iter()} - {""}
        assert not ids & seen
        seen |= ids
        assert "#0102" not in drawing
        assert set(re.findall(r"var\((--[a-z0-9-]+)\)", drawing)) <= set(re.findall(r"(--[a-z0-9-]+):", page))


@pytest.mark.parametrize("render", [render_html, render_markdown, render_text, render_json])
def test_every_form_says_that_numbers_are_emulated_and_what_was_not_enforced(runs: list[Run], render) -> None:  # type: ignore[no-untyped-def]
    text = render(runs)
    assert "Emulated phone" in text
    assert "Test phone 8 GB" in text
    assert "Not enforced: flash read iops 9,000/s (no io controller)" in text
    assert "emulated phone" in text[text.find("</h1>") + 1 :][:200].lower()  # at the top


def test_a_host_run_says_that_it_is_no_phone() -> None:
    assert "not a phone" in render_text([make_run(conditions=HOST)])


def test_differences_between_runs_are_marked() -> None:
    hot = {**HOST, "cores": 4}
    page = render_html([make_run(conditions=HOST), make_run(conditions=hot, repeat=1)])
    assert re.search(r'class="differs"><dt>cores</dt><dd>2 – 4', page)


def test_names_from_packages_cannot_inject_markup(runs: list[Run]) -> None:
    data = runs[0].model_dump()
    data["package"]["name"] = "<b>x</b>"
    assert "<b>x</b>" not in render_html([Run.model_validate(data)])


def test_json_holds_every_point_with_its_conditions(runs: list[Run]) -> None:
    data = json.loads(render_json(runs))
    assert [(point["ladder_step"], point["bytes_read"]) for point in data["points"]] == [
        (None, 9000), (None, 4000), (None, 0), ("naive", 90000), ("hybrid", 45000), ("+ predictor", 9000),
    ]  # fmt: skip
    assert all(point["conditions_before"][0]["emulated"] for point in data["points"])


def test_ladder_ratios_are_to_the_step_before(runs: list[Run]) -> None:
    rows = [
        line.split("|") for line in render_markdown(runs).splitlines() if line.startswith("| +") or "hybrid" in line
    ]
    assert [row[3].strip() for row in rows if row[1].strip() in {"hybrid", "+ predictor"}] == ["0.50", "0.20"]


def test_remarks_name_what_changes_the_meaning() -> None:
    data = make_run().model_dump()
    data["ready"] |= {"direct_io": False, "direct_io_why": "tmpfs"}
    data["package"]["synthetic"] = True
    data["result"]["memory"]["peak_rss_bytes"] = 99 * MIB
    text = render_text([Run.model_validate(data)])
    assert "page cache: tmpfs" in text
    assert "synthetic weights" in text
    assert "peak RSS exceeded the budget of 24.0 MiB" in text


def test_runs_without_decoded_tokens_are_refused() -> None:
    data = make_run().model_dump()
    data["tokens"] = data["tokens"][:1]
    with pytest.raises(InputError, match="no run decoded a token"):
        render_text([Run.model_validate(data)])


def test_tables_align_numbers_to_the_right() -> None:
    assert text_table(("name", "size"), [("a", "1"), ("bc", "12")]).splitlines() == [
        "name  size",
        "────  ────",
        "a        1",
        "bc      12",
    ]
    assert markdown_table(("a|b", "n"), [("x", "1")]).splitlines() == ["| a\\|b | n |", "| --- | ---: |", "| x | 1 |"]


def test_budget_table_names_every_role_and_the_ends() -> None:
    text = budget_table(Budget.model_validate(budget(22 * MIB)))
    for word in (
        "process",
        "10.0 MiB",
        "neurons",
        "minimum",
        "20.0 MiB",
        "all resident",
        "40.0 MiB",
        "asked",
        "22.0 MiB",
    ):
        assert word in text


def test_templates_travel_with_the_package() -> None:
    import flashneuron.report as report

    folder = Path(report.__file__).parent
    assert (folder / "report.html.j2").is_file()
    assert (folder / "report.css").is_file()


def test_marks_come_first_in_every_form() -> None:
    run = changed(make_run(), synthetic=True)
    assert json.loads(render_json([run]))["marks"] == ["emulated phone", "synthetic weights"]
    assert render_markdown([run]).startswith("**EMULATED PHONE · SYNTHETIC WEIGHTS**\n")
    assert "<li>emulated phone</li><li>synthetic weights</li>" in render_html([run])
    assert json.loads(render_json([make_run(conditions=HOST)]))["marks"] == ["not a phone"]
    phone = {**EMULATED, "emulated": None}
    assert json.loads(render_json([make_run(conditions=phone)]))["marks"] == []
    assert 'class="marks"' not in render_html([make_run(conditions=phone)])


def test_every_plot_has_a_title_with_a_unit_on_each_axis(page: str) -> None:
    titles = re.findall(r"<text[^>]*>([^<]*)</text>", page)
    for title in ("time per token, ms", "read from flash per token, bytes", "RAM budget, bytes", "DRAM, bytes",
                  "neurons found in DRAM, %", "layer (number, from 0)", "time of the prompt, ms",
                  "reads per token, count", "peak RSS, bytes", "mean time per token, ms"):  # fmt: skip
        assert title in titles
    assert titles.count("RAM budget") == 3
    assert titles.count("step of the ladder") == 4


def changed(run: Run, **package: object) -> Run:
    data = run.model_dump()
    data["package"] |= package
    return Run.model_validate(data)


def test_two_packages_are_told_apart_everywhere(runs: list[Run]) -> None:
    both = [*runs, *(changed(run, name="other", sha256="cd" * 32) for run in runs)]
    for render in (render_html, render_markdown, render_json):
        assert "these are runs of 2 packages, which do not compute the same" in render(both)
    steps = [
        line.split("|")[1:6] for line in render_markdown(both).splitlines() if re.match(r"\| (naive|hybrid)", line)
    ]
    assert [(row[0].strip(), row[1].strip(), row[3].strip()) for row in steps] == [
        ("naive", "other (cdcdcdcd)", ""),
        ("naive", "tiny (abababab)", ""),
        ("hybrid", "other (cdcdcdcd)", "0.50"),
        ("hybrid", "tiny (abababab)", "0.50"),
    ]
    assert render_html(both).count(">hybrid, tiny (abababab)</text>") == 4  # a bar in each plot of the ladder


def test_budgets_that_round_to_the_same_words_keep_a_bar_each() -> None:
    page = render_html([make_run(24 * MIB), make_run(24 * MIB + 1024)])
    assert page.count("24.0 MiB (25,165,824 B)</text>") == page.count("24.0 MiB (25,166,848 B)</text>") == 3


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FlashCurve:
    """The curve of PHONE, in a cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    points = [
        CurvePoint(read_bytes=4096 << n, threads=threads, reads=100, wall_us=4000 // threads + (100 << n), cpu_us=0)
        for n in range(11)
        for threads in (1, 2, 4, 8, 16, 32)
    ]
    curve = FlashCurve(
        measured="2026-02-03T04:05:00+00:00", conditions=PHONE, points=points, bursts=bursts(), file_bytes=1 << 30,
        block_bytes=4096,        direct_io=True, bytes_read=100, dram_bytes_per_s=10**10, dram_threads=2,
    )  # fmt: skip
    write_curve(curve, curve_path(PHONE))
    return curve


def test_the_flash_curve_of_a_probed_device_is_shown_with_the_reads_of_runs(
    probed: FlashCurve, runs: list[Run]
) -> None:
    page = render_html(runs)
    assert "Flash curve: emulated phone test-phone" in page
    assert "probed on 3 February 2026, 04:05 UTC" in page
    assert "the mean read of these runs, 3.91 KiB to 87.9 KiB" in page
    for text in ("bandwidth, MB/s", "size of a read, bytes (logarithmic)", "16 KiB", "4 MiB"):
        assert f">{text}</text>" in page
    (curve,) = json.loads(render_json(runs))["flash_curves"]
    assert (curve["measured"], curve["emulated"], curve["of_flash"]) == (probed.measured, True, True)
    assert len(curve["points"]) == 66
    assert "Flash curve" not in render_html([make_run(conditions=HOST)])


def test_few_lines_show_the_threads_that_runs_used(probed: FlashCurve) -> None:
    assert shown_threads(probed, [4]) == [1, 2, 4, 32]
    assert shown_threads(probed, []) == [1, 2, 8, 32]
    assert shown_threads(probed, [15]) == [1, 2, 16, 32]
    assert len(shown_threads(probed, [1, 2, 4, 8, 16, 32])) == 4


def test_a_curve_of_the_page_cache_says_so(probed: FlashCurve, runs: list[Run]) -> None:
    write_curve(probed.model_copy(update={"direct_io": False}), curve_path(PHONE))
    assert "this is the page cache&#39;s curve" in render_html(runs)
    curve_path(PHONE).write_text("{}")
    with pytest.raises(InputError, match="flashneuron probe"):
        render_html(runs)


def test_the_terminal_has_marks_without_markup() -> None:
    assert render_text([make_run()]).startswith("EMULATED PHONE\n")


def prepared(run: Run, waited_s: float, warmer: list[str]) -> Run:
    data = run.model_dump()
    data["warm_up"] = {
        "started": run.started, "asked": {}, "prompt_tokens": 16, "tokens": 8, "wall_us": 250_000,
    }  # fmt: skip
    state = "warm" if warmer else "cool"
    data["cool_down"] = {"limit_s": 60, "waited_s": waited_s, "state": state, "warmer": warmer}
    return Run.model_validate(data)


def test_what_came_before_the_runs_is_told_of_each_point() -> None:
    warmer = "battery 41.0 °C (36.0 at the start)"
    runs = [prepared(make_run(), 0.2, []), prepared(make_run(repeat=1), 60, [warmer])]
    both = [*runs, make_run(30 * MIB)]
    page = render_html(both)
    before = page[page.index("Before the runs") :]
    told = "prompt of 16, 8 tokens: 250 ms", "0 – 60 s (limit: 60 s)", f"cool × 1, warm × 1: {warmer}"
    for text in (*told, "not recorded", "not recorded × 1"):
        assert f">{text}</td>" in before
    markdown = render_markdown(both)
    assert f"| 24.0 MiB | {' | '.join(told)} |" in markdown[markdown.index("## Before the runs") :]
    assert "| 30.0 MiB | not recorded | not recorded | not recorded × 1 |" in markdown
    first, second = json.loads(render_json(both))["points"]
    assert [one["wall_us"] for one in first["warm_up"]] == [250_000, 250_000]
    assert [(one["waited_s"], one["state"], one["warmer"]) for one in first["cool_down"]] == [
        (0.2, "cool", []), (60, "warm", [warmer]),
    ]  # fmt: skip
    assert (second["warm_up"], second["cool_down"]) == ([None], [None])


def test_all_that_differs_is_in_one_column() -> None:
    text = render_markdown([make_run(), make_run(overlap="off"), make_run(overlap="on", window=5)])
    assert "| peak RSS | settings | tokens/s |" in text
    assert "| window 5, overlap on |" in text
    assert "| peak RSS | overlap | tokens/s |" in render_markdown([make_run(), make_run(overlap="off")])
