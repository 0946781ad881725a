"""Exit code and stderr of a command on devices whose adb has no shell protocol (older than Android 7). Pure.

The command's stderr goes to a file of the device. After its output comes a mark that no output holds by chance,
then the stderr, then the mark and the exit code. `exec:` carries bytes as they are, unlike `shell:`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import PurePosixPath

from flashneuron.device.shell_frames import EXIT, STDERR, STDOUT

_FOLDER = PurePosixPath("/data/local/tmp")


def new_mark() -> str:
    return f"flashneuron-{secrets.token_hex(12)}"


def wrap(command: str, mark: str) -> str:
    """A shell command that runs `command` and says the rest."""
    errors = _FOLDER / f"{mark[::-1]}.err"  # a name without the mark, which a listing would print
    return f"({command}) 2> {errors}; x=$?; echo {mark}; cat {errors}; rm -f {errors}; echo {mark} $x"


class TrailerDecoder:
    """As shell_frames.FrameDecoder, for what `wrap` prints."""

    def __init__(self, mark: str) -> None:
        self._mark = mark.encode()  # begins unlike a line ends, so that a whole line never waits
        self._buffer = b""
        self._kind = STDOUT

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The parts that `data` completes. Exhaust it before the next call."""
        self._buffer += data
        while self._kind != EXIT:
            before, found, after = self._buffer.partition(self._mark)
            if found and b"\n" not in after:
                return  # the mark's line is not whole yet
            if not found:
                # What may be the beginning of a mark waits for more.
                keep = next((n for n in range(len(self._mark) - 1, 0, -1) if self._buffer.endswith(self._mark[:n])), 0)
                ready, self._buffer = self._buffer[: len(self._buffer) - keep], self._buffer[len(self._buffer) - keep :]
                if ready:
                    yield self._kind, ready
                return
            end, _, rest = after.partition(b"\n")
            if before:
                yield self._kind, before
            self._buffer = rest
            if self._kind == STDOUT:
                self._kind = STDERR
            else:
                self._kind = EXIT
                code = end.strip()
                yield EXIT, bytes([min(255, int(code)) if code.isdigit() and len(code) < 4 else 255])
