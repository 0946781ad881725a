"""The key by which phones know this computer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flashneuron.device.keys import load_signers
from flashneuron.errors import DeviceError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


def public_key() -> bytes:
    key = load_signers()[0].GetPublicKey()
    return key.encode() if isinstance(key, str) else key


def test_one_key_is_made_and_only_its_owner_may_read_it(home: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        keys = {each.result() for each in [pool.submit(public_key) for _ in range(3)]}
    assert len(keys) == 1
    folder = home / ".config" / "flashneuron"
    assert sorted(each.name for each in folder.iterdir()) == ["adbkey", "adbkey.pub"]
    assert (folder / "adbkey").stat().st_mode & 0o777 == 0o600


def test_adbs_own_key_is_used_and_a_half_made_one_made_anew(home: Path) -> None:
    ours = home / ".config" / "flashneuron"
    ours.mkdir(parents=True)
    (ours / "adbkey").write_text("half")
    made = public_key()
    ours.rename(home / ".android")
    assert public_key() == made
    assert not ours.exists()


def test_what_is_no_key_is_told(home: Path) -> None:
    (home / ".android").mkdir()
    for name in ("adbkey", "adbkey.pub"):
        (home / ".android" / name).write_text("noise")
    with pytest.raises(DeviceError, match=r"\.android/adbkey is no RSA key of adb; move it"):
        load_signers()
