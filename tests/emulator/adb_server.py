"""A server of Google's adb for tests: a port and a home of its own, so that it meets nobody else's."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from types import TracebackType


class AdbServer:
    """`program` is an adb. Runs in the foreground until the block ends."""

    def __init__(self, program: str | Path, home: Path) -> None:
        self._program = str(program)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address: tuple[str, int] = free.getsockname()
        # No look for USB devices, which newer versions take seconds for; no emulators of someone else.
        quiet = {"ADB_USB": "0", "ADB_LIBUSB": "0", "ADB_LOCAL_TRANSPORT_MAX_PORT": "0", "ADB_MDNS_AUTO_CONNECT": "0"}
        self.environment = {**os.environ, **quiet, "HOME": str(home), "ANDROID_ADB_SERVER_PORT": str(self.address[1])}

    def __enter__(self) -> AdbServer:
        self.run("start-server")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run("kill-server")

    def run(self, *arguments: str, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[bytes]:
        command = [self._program, *arguments]
        return subprocess.run(
            command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, check=check, timeout=timeout_s
        )
