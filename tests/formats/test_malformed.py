"""Every malformed case of FORMAT.md, applied to a copy of the fixture package."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from flashneuron.errors import PackageError
from flashneuron.package.verify import verify

DATA = Path(__file__).parent.parent / "data"
FORMAT = Path(__file__).parents[2] / "toolkit/flashneuron/package/FORMAT.md"
CASES: list[dict[str, Any]] = json.loads((DATA / "malformed.json").read_text())["cases"]


def apply(path: Path, edit: dict[str, Any]) -> None:
    content = path.read_bytes()
    match edit["kind"]:
        case "remove":
            path.unlink()
        case "truncate":
            assert edit["bytes"] < len(content)
            path.write_bytes(content[: edit["bytes"]])
        case "append":
            path.write_bytes(content + bytes.fromhex(edit["hex"]))
        case "bytes":
            new, at = bytes.fromhex(edit["hex"]), edit["offset"]
            assert content[at : at + len(new)] != new
            path.write_bytes(content[:at] + new + content[at + len(new) :])
        case "json" | "json_delete":
            document = json.loads(content)
            *parents, last = edit["pointer"].removeprefix("/").split("/")
            target = document
            for key in parents:
                target = target[int(key) if isinstance(target, list) else key]
            last = int(last) if isinstance(target, list) else last
            if edit["kind"] == "json_delete":
                del target[last]
            else:
                assert (target.get(last) if isinstance(target, dict) else target[last]) != edit["value"]
                target[last] = edit["value"]
            path.write_text(json.dumps(document))
        case kind:
            raise AssertionError(f"unknown edit {kind}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['number']}-{case['name'].replace(' ', '-')}")
def test_a_malformed_package_is_refused_with_its_code(case: dict[str, Any], tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(DATA / "tiny_package", package)
    apply(package / case["file"], case["edit"])
    with pytest.raises(PackageError) as caught:
        verify(package)
    assert caught.value.code == case["code"]
    message = str(caught.value)
    assert "\n" not in message
    assert "manifest.json" in message or Path(case["file"]).name in message
    assert "SHA-256" not in message, "the structure alone must give it away"


def test_format_md_lists_the_same_cases() -> None:
    listed = re.findall(r"\| (\d+) \| ([^|]+) \| `(\w+)`", FORMAT.read_text())
    assert sorted((int(number), name, code) for number, name, code in listed) == [
        (case["number"], case["name"], case["code"]) for case in CASES
    ]
