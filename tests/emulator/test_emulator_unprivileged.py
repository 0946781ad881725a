"""A phone without root: it starts in a user namespace, and says which of its limits do not hold."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

import flashneuron
from flashneuron.emulator.rootfs import phone_root
from flashneuron.progress import SilentProgress

NOBODY = 65534
AS_NOBODY: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": ()}
TRY = """
import json, os
from flashneuron.device.adb import tcp_device
from flashneuron.device.info import conditions
from flashneuron.emulator.phone import start_phone, stop_phone
from flashneuron.progress import SilentProgress
phone = start_phone("entry-4gb", SilentProgress(), name="nobodys")
try:
    device = tcp_device("127.0.0.1", phone.port)
    device.write(b"x", device.root / "file")
    facts = conditions(device)
    said = device.shell(["cat", str(device.root / "file")]).text
    found = {"limits": phone.limits, "model": facts["model"], "said": said, "emulated": facts["emulated"]["limits"]}
    print(json.dumps(found))
finally:
    stop_phone("nobodys")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_it_starts_and_says_what_does_not_hold(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("nobody")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)
    root = phone_root(SilentProgress())
    cache = folder / "flashneuron" / "emulator"
    cache.mkdir(parents=True)
    shutil.copytree(root, cache / root.name, symlinks=True)
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(folder)], check=True)
    paths = os.pathsep.join([str(Path(flashneuron.__file__).parents[1]), sysconfig.get_path("purelib")])
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder), "HOME": str(folder), "PYTHONPATH": paths}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"

    def run(python: str, code: str) -> subprocess.CompletedProcess[str]:
        command = [python, "-c", code]
        return subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, **AS_NOBODY
        )

    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            usable = run(python, "import flashneuron.emulator.phone, flashneuron.device.info").returncode == 0
        except OSError:
            usable = False
        if usable:
            break
    else:
        pytest.skip("another user can run neither this Python nor the system's of the same version on this checkout")
    done = run(python, TRY)
    if "user namespaces" in done.stderr:
        pytest.skip(f"no user namespaces here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["model"] == "Entry 4 GB"
    assert found["said"] == "x"
    states = {limit["name"]: limit["enforced"] for limit in found["limits"]}
    assert not states["ram"]
    assert not states["user"]
    assert found["emulated"] == found["limits"]
