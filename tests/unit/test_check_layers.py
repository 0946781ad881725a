"""tools/check-layers finds what it is there to find, and push/run/profile need no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "check-layers"


def check(root: Path) -> tuple[int, str]:
    done = subprocess.run([sys.executable, str(TOOL), str(root)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def plant(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    plant(tmp_path, "toolkit/flashneuron/errors.py", "")
    plant(tmp_path, "toolkit/flashneuron/cli/run.py", "import click\nfrom flashneuron.report import x\n")
    plant(tmp_path, "toolkit/flashneuron/report/metrics.py", "from flashneuron.profile import run\n")
    plant(tmp_path, "device_runtime/src/decode/decoder.cc", '#include "flash/reader.h"\n#include <vector>\n')
    plant(tmp_path, "device_runtime/src/attention/x.cc", "#include <executorch/extension/module/module.h>\n")
    return tmp_path


def test_a_clean_tree_passes(tree: Path) -> None:
    assert check(tree) == (0, "")


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "toolkit/flashneuron/package/a.py",
            "import flashneuron.device.adb\n",
            "package/a.py:1: package must not import",
        ),
        (
            "toolkit/flashneuron/profile/a.py",
            "\nfrom flashneuron import report\n",
            "a.py:2: profile must not import report",
        ),
        ("toolkit/flashneuron/model/a.py", "def f():\n    from flashneuron.cli import x\n", "a.py:2: model must not"),
        (
            "toolkit/flashneuron/units.py",
            "from flashneuron.package import x\n",
            "units.py:1: units must not import package",
        ),
        ("toolkit/flashneuron/device/a.py", "from .b import c\n", "device/a.py:1: device must not import (a relative"),
        (
            "toolkit/flashneuron/device/a.py",
            "from flashneuron.emulator import x, y\n",
            "a.py:1: device must not import",
        ),
        ("toolkit/flashneuron/helpers/a.py", "", "'helpers' is no part of flashneuron"),
        ("device_runtime/src/core/a.h", '#include "package/package.h"\n', "a.h:1: core must not include package/"),
        ("device_runtime/src/flash/a.cc", '// x\n#include "cache/c.h"\n', "a.cc:2: flash must not include cache/"),
        (
            "device_runtime/src/decode/a.cc",
            "#include <executorch/runtime/x.h>\n",
            "only attention/ includes ExecuTorch",
        ),
        ("device_runtime/include/flashneuron/a.h", '#include "core/align.h"\n', "include must not include core/"),
        ("device_runtime/src/util/a.h", "", "'util' is no module known"),
        ("device_runtime/src/core/long.cc", "//\n" * 401, "long.cc:401: 401 lines, at most 400"),
        ("toolkit/flashneuron/cli/push.py", "import click\n" + "#\n" * 80, "push.py:81: 81 lines, at most 80"),
        ("tools/a", "cd /" + "root/project\n", "tools/a:1: '/" + "root/' is a path of one machine"),
        ("README.md", "x\nsee /" + "home/me/notes\n", "README.md:2: '/" + "home/me/'"),
    ],
)
def test_each_planted_violation_is_found(tree: Path, path: str, text: str, expected: str) -> None:
    plant(tree, path, text)
    code, output = check(tree)
    assert code == 1
    assert expected in output
    assert len(output.splitlines()) == 1


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    code, output = check(tmp_path)
    assert code == 1
    assert "not the root" in output


NO_TORCH = """
import importlib, pathlib, sys
for name in ("torch", "executorch", "safetensors", "transformers"):
    sys.modules[name] = None
import flashneuron
root = pathlib.Path(flashneuron.__file__).parent
parts = ("package", "device", "emulator", "profile", "report")
files = [file for part in parts for file in (root / part).rglob("*.py")]
names = ("main", "progress", "options", "push", "run", "eval", "profile", "report", "inspect", "emulator", "runtime")
files += [file for name in names if (file := root / "cli" / f"{name}.py").exists()]
for file in files:
    module = ".".join(("flashneuron", *file.relative_to(root).with_suffix("").parts))
    importlib.import_module(module.removesuffix(".__init__"))
print(len(files))
"""


def test_push_run_and_profile_import_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", NO_TORCH], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
