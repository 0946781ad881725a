"""The report's pages in a browser without a network: desktop and phone, light and dark."""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from browser import WIDTHS, Seen, chromium, look
from curves import bursts
from runs import EMULATED, MIB, make_run

from flashneuron.profile.flash_curve import CurvePoint, FlashCurve, curve_path, write_curve
from flashneuron.profile.run_file import CoolDown, Predicted, Run, WarmUp
from flashneuron.report.compare import Side, compare
from flashneuron.report.compare_render import render_comparison
from flashneuron.report.render import render_html

VIEWS = [(page, size, dark) for page in ("report", "comparison") for size in WIDTHS for dark in (False, True)]
LIMITS = [{"name": "flash_read_iops", "value": 9000, "enforced": False, "note": "no io controller"}]
PHONE = {**EMULATED, "emulated": {"profile": "test-phone", "title": "Test phone 8 GB", "limits": LIMITS}}
View = tuple[str, str, bool]


def probed() -> FlashCurve:
    points = [
        CurvePoint(read_bytes=4096 << n, threads=threads, reads=100, wall_us=4000 // threads + (100 << n), cpu_us=0)
        for n in range(11)
        for threads in (1, 2, 8, 32)
    ]
    return FlashCurve(
        measured="2026-01-01T00:00:00+00:00", conditions=PHONE, points=points, bursts=bursts(), file_bytes=1 << 30,
        block_bytes=4096,        direct_io=True, bytes_read=100, dram_bytes_per_s=10**10, dram_threads=2,
    )  # fmt: skip


def slower(run: Run) -> Run:
    """With settings of its own, and numbers as wide as they get."""
    asked = {"overlap": "off", "window": 5, "read_threads": 8}
    return make_run(run.ram_bytes, run.repeat, 123_456, 98_765_432, conditions=PHONE, **asked)


def told(run: Run) -> Run:
    """With a prediction, and with what came before it."""
    warmer = ["thermal status moderate (none at the start)", "battery 41.0 °C (36.0 at the start)"]
    wall_us = run.decoded[0].wall_us * 1.23
    return run.model_copy(
        update={
            "predicted": Predicted(
                wall_us=wall_us, stall_us=1, compute_us=1, requests=1, bytes_read=1, hit_rate=0.5, basis="made-up costs"
            ),
            "warm_up": WarmUp(started=run.started, asked={}, prompt_tokens=16, tokens=8, wall_us=654_321),
            "cool_down": CoolDown(limit_s=60, waited_s=60, state="warm", warmer=warmer),
        }
    )


def pages() -> dict[str, str]:
    budgets = [(24, 90000), (30, 40000), (40, 0)]
    runs = [make_run(ram * MIB, r, 1000 + read // 9, read, conditions=PHONE) for ram, read in budgets for r in range(3)]
    hard = [told(run) for run in (*runs, *(slower(run) for run in runs))]
    steps = [("naive", 90000), ("hybrid", 45000), ("+ predictor", 9000)]
    ladder = [make_run(None, 0, 5000, read, step, conditions=PHONE) for step, read in steps]
    other = [make_run(run.ram_bytes, run.repeat, 800, 5000, conditions=PHONE, overlap="off") for run in runs]
    comparison = compare(Side("runs/before", runs), Side("runs/after", other), even_if_unequal=True)
    return {"report": render_html([*hard, *ladder]), "comparison": render_comparison(comparison, "html")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        write_curve(probed(), curve_path(PHONE))
        return pages()


@pytest.fixture(scope="module")
def seen(made: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Mapping[View, Seen]:
    """All views, each by a browser of its own, two at a time."""
    folder = tmp_path_factory.mktemp("browser")

    def see(view: View) -> Seen:
        page, size, dark = view
        own = folder / f"{page}-{size}-{dark}"
        own.mkdir()
        return look(made[page], WIDTHS[size], dark, own)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(VIEWS, pool.map(see, VIEWS), strict=True))


def test_pages_refer_to_nothing_on_the_network(made: dict[str, str]) -> None:
    for page in made.values():
        references = re.findall(r'(?:href|src|srcset|action|url)\s*[=(]\s*["\']?([^"\')> ]+)', page)
        assert all(reference.startswith("#") for reference in references)
        assert "<script" not in page
        assert "@import" not in page


@pytest.mark.parametrize("view", VIEWS)
def test_a_page_is_whole_without_a_network(seen: Mapping[View, Seen], view: View) -> None:
    _, size, dark = view
    found = seen[view]
    assert found.complaints == []
    assert found.measured["fetched"] == []
    assert found.measured["inner_width"] == WIDTHS[size]
    assert found.measured["scroll_width"] <= WIDTHS[size]
    assert found.measured["outside"] == []
    assert found.measured["clipped"] == []  # tables that must be scrolled sideways
    assert found.measured["markup"] == []  # that was escaped once too often
    assert found.measured["text_px"] >= 10  # the smallest words of a plot
    assert found.measured["dark"] == dark
    assert_drawn(found, WIDTHS[size], dark)


def assert_drawn(found: Seen, width: int, dark: bool) -> None:
    """Not blank: paper of the right brightness, and something on it from top to bottom, in colours."""
    image = found.image
    assert image.shape[1] == width
    brightness = image.mean(axis=2)
    paper = float(np.median(brightness))
    assert paper < 0.2 if dark else paper > 0.9
    for part in np.array_split(brightness, 4):
        assert (np.abs(part - paper) > 0.3).mean() > 0.005
    coloured = image.max(axis=2) - image.min(axis=2) > 0.3
    assert coloured.mean() > 0.001


def test_without_a_browser_the_test_fails_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AssertionError, match="apt-get install chromium"):
        chromium()


def test_the_browser_tells_of_errors_overflow_and_what_a_page_would_fetch(tmp_path: Path) -> None:
    """That the checks above can fail."""
    bad = (
        "<!doctype html><html><head></head><body style='margin: 0'><h1 style='width: 900px'>wide &lt;b&gt;</h1>"
        "<img src='http://flashneuron.invalid/x.png'><script>console.error('oh no'); missing()</script></body></html>"
    )
    found = look(bad, WIDTHS["phone"], False, tmp_path)
    assert found.measured["scroll_width"] == 900
    assert found.measured["outside"]
    assert found.measured["markup"] == ["<b>"]
    assert found.measured["fetched"] == ["http://flashneuron.invalid/x.png"]
    assert any("oh no" in complaint for complaint in found.complaints)
    assert any("missing is not defined" in complaint for complaint in found.complaints)
