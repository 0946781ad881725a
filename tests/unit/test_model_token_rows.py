"""Rows of many tokens: the same in memory and in a file, and the file's take no memory of the process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from flashneuron.model import token_rows
from flashneuron.model.token_rows import TokenRows


@pytest.fixture(params=[0, 2**30], ids=["file", "resident"])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TokenRows:
    monkeypatch.setattr(token_rows, "RESIDENT_BYTES", request.param)
    return TokenRows(1000, 8, tmp_path)


def test_rows_begin_as_zeros_and_keep_what_is_written(rows: TokenRows, tmp_path: Path) -> None:
    assert len(rows) == 1000
    assert not rows[:].any()
    values = torch.arange(8000.0).view(1000, 8)
    for start in range(0, 1000, 300):
        rows[start : start + 300] = values[start : start + 300]
    order = torch.randperm(1000)
    assert torch.equal(rows[order], values[order])
    assert torch.equal(rows[::7], values[::7])
    part = rows.part(100, 400)
    assert len(part) == 300
    assert torch.equal(part[5:9], values[105:109])
    part[0:1] = torch.full((1, 8), -1.0)
    assert rows[100:101].eq(-1).all()
    assert list(tmp_path.iterdir()) == []


def test_rows_in_a_file_are_not_the_process_s_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_rows, "RESIDENT_BYTES", 0)
    before = resident_bytes()
    rows = TokenRows(64_000, 256, tmp_path)  # 62 MiB
    for start in range(0, len(rows), 1000):
        rows[start : start + 1000] = torch.ones(1000, 256)
    assert all(rows[start : start + 1000].eq(1).all() for start in range(0, len(rows), 1000))
    assert resident_bytes() - before < 20 * 2**20


def resident_bytes() -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024
