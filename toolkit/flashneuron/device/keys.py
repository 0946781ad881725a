"""The RSA key by which phones know this computer."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from flashneuron.device.wire import Signer
from flashneuron.errors import DeviceError


def load_signers() -> list[Signer]:
    """adb's own key where the user has one (phones know it already), else one of ours, made on first use."""
    from adb_shell.auth.sign_pythonrsa import PythonRSASigner

    key = Path.home() / ".android" / "adbkey"
    try:
        if not _is_whole(key):
            key = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "flashneuron" / "adbkey"
            _make(key)
        return [PythonRSASigner.FromRSAKeyPath(str(key))]
    except OSError as error:
        raise DeviceError(f"cannot use the adb key {key}: {error.strerror or error}") from error
    except Exception as error:  # whatever a parser of keys makes of other bytes
        raise DeviceError(f"{key} is no RSA key of adb; move it and {key.name}.pub away") from error


def _is_whole(key: Path) -> bool:
    return key.is_file() and key.with_suffix(".pub").is_file()


def _make(key: Path) -> None:
    """Unless it is there. Of several that make one at a time the first wins; a half made one is made anew."""
    from adb_shell.auth.keygen import keygen

    key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = os.open(key.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if _is_whole(key):
            return
        with tempfile.TemporaryDirectory(dir=key.parent) as private:  # 0700; keygen's own files are readable to all
            made = Path(private) / key.name
            keygen(str(made))
            made.chmod(0o600)
            key.unlink(missing_ok=True)
            made.with_suffix(".pub").replace(key.with_suffix(".pub"))
            made.replace(key)
    finally:
        os.close(folder)
