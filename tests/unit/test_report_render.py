"""Reports: complete in themselves, honest about where their numbers are from, in every form."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from runs import EMULATED, HOST, MIB, budget, make_run

from flashneuron.errors import InputError
from flashneuron.profile.run_file import Budget, Run
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
