"""The developer tools' own small programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def tool(name: str, *arguments: str) -> str:
    command = [sys.executable, str(TOOLS / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


PYTEST = """<testsuites><testsuite tests="4"><testcase/><testcase><failure/></testcase>
<testcase><skipped/></testcase><testcase><error/></testcase></testsuite></testsuites>"""
CTEST = '<testsuite tests="2"><testcase status="run"/><testcase status="run"><system-out/></testcase></testsuite>'


@pytest.mark.parametrize(
    ("failed_stages", "expected"),
    [
        ([], "3 passed, 2 failed, 1 skipped\n"),
        (["python"], "3 passed, 2 failed, 1 skipped\n"),  # its failed tests are counted already
        (["host"], "3 passed, 3 failed, 1 skipped\n"),  # all its tests passed, so something else failed
        (["lint", "asan"], "3 passed, 4 failed, 1 skipped\n"),  # no tests, or no file: it broke before its tests
    ],
)
def test_counts_tests_of_both_languages_and_stages_that_broke(
    tmp_path: Path, failed_stages: list[str], expected: str
) -> None:
    (tmp_path / "python.xml").write_text(PYTEST)
    (tmp_path / "host.xml").write_text(CTEST)
    (tmp_path / "host-tsan.xml").write_text("<testsuite><testca")  # cut short
    assert tool("count-tests", str(tmp_path), *failed_stages) == expected


def test_nothing_is_missing_where_these_tests_run() -> None:
    assert tool("missing-packages", "export", "dev") == ""


def test_a_missing_or_other_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    copy = tmp_path / "tools" / "missing-packages"
    copy.write_text((TOOLS / "missing-packages").read_text())
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["click==0.0.1"]\n[project.optional-dependencies]\nx = ["no-such-package==1.0"]\n'
    )
    done = subprocess.run([sys.executable, str(copy), "x"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["click==0.0.1", "no-such-package==1.0", "flashneuron"]


@pytest.mark.parametrize(("name", "words"), [("quickstart", "Usage: tools/quickstart"), ("test", "Usage: tools/test")])
def test_help_needs_no_set_up(name: str, words: str, tmp_path: Path) -> None:
    copy = tmp_path / "tools" / name
    copy.parent.mkdir()
    copy.write_text((TOOLS / name).read_text())
    done = subprocess.run(["bash", str(copy), "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert words in done.stdout
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("name", "arguments"), [("quickstart", ["--speed"]), ("quickstart", ["-p"]), ("test", ["fuzz"])]
)
def test_wrong_options_are_refused_before_anything_happens(name: str, arguments: list[str]) -> None:
    done = subprocess.run(["bash", str(TOOLS / name), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
