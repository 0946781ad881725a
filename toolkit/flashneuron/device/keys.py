"""The RSA key by which phones know this computer."""

from __future__ import annotations

import os
from pathlib import Path

from flashneuron.device.wire import Signer


def load_signers() -> list[Signer]:
    """adb's own key where the user has one (phones know it already), else one of ours, made on first use."""
    from adb_shell.auth.keygen import keygen
    from adb_shell.auth.sign_pythonrsa import PythonRSASigner

    key = Path.home() / ".android" / "adbkey"
    if not (key.is_file() and key.with_suffix(".pub").is_file()):
        key = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "flashneuron" / "adbkey"
    if not (key.is_file() and key.with_suffix(".pub").is_file()):
        key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        key.touch(mode=0o600)  # keygen alone would leave the private key readable to all
        key.chmod(0o600)
        keygen(str(key))
    return [PythonRSASigner.FromRSAKeyPath(str(key))]
