"""A profile that is killed anywhere loses the run in progress at most, and goes on."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from fake_profile import TINY

from flashneuron.profile.run_file import find_runs, read_run

PROCESS = Path(__file__).with_name("profile_process.py")
RUNS, KILLS = 6, 8


def profile(folder: Path, tick: int) -> subprocess.CompletedProcess[str]:
    arguments = ["profile", TINY, "-p", "abc", "--max-new-tokens", "5", "--ram", "24M,32M,40M", "--repeat", "2"]
    command = [sys.executable, PROCESS, str(tick), *arguments, "-o", "out", "--format", "files"]
    return subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=False)


def test_a_profile_that_is_killed_anywhere_loses_one_run_at_most_and_goes_on(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    done = profile(whole, 0)
    assert done.returncode == 0, done.stderr
    expected = {path.name for path in find_runs([whole / "out"])}
    assert len(expected) == RUNS
    last = int(done.stderr.splitlines()[-1].split()[0])
    seed = random.randrange(1 << 32)
    places, kept, killed = random.Random(seed), 0, 0
    folder = tmp_path / "killed"
    folder.mkdir()
    for _ in range(KILLS):
        (folder / "finished").unlink(missing_ok=True)
        ended = profile(folder, places.randint(1, last * 2 // 3))
        finished = len((folder / "finished").read_text()) if (folder / "finished").exists() else 0
        found = list((folder / "out").glob("*.json")) if (folder / "out").exists() else []
        for path in found:
            read_run(path)
        measured = max(0, finished - 1)  # one of them is the warm-up
        assert len(found) - kept in (measured, measured - 1), f"seed {seed}: {ended.stderr}"
        kept = len(found)
        if ended.returncode == 0:
            break
        assert ended.returncode == -9, f"seed {seed}: {ended.stderr}"
        killed += 1
    assert killed
    done = profile(folder, 0)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (folder / "out").iterdir()} == expected, f"seed {seed}"
    assert {Path(line).name for line in done.stdout.splitlines()} == expected
