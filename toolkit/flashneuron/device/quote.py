"""The one way by which an argument reaches a device's shell."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from flashneuron.errors import DeviceError

_PLAIN = re.compile(r"[A-Za-z0-9_./:=@%+,-]+")
MAX_COMMAND_BYTES = 45_000  # Linux takes at most 128 KiB in one string, and adbd hands over all of what `guard` gives


def quote(argument: str) -> str:
    """One word that mksh and every POSIX shell read as exactly `argument`. Refuses NUL and what has no UTF-8 form."""
    if "\0" in argument:
        raise DeviceError(f"the argument {argument!r} holds a NUL character; no command can take it")
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise DeviceError(f"the argument {argument!r} cannot be written as UTF-8; rename the file") from None
    return argument if _PLAIN.fullmatch(argument) else "'" + argument.replace("'", "'\\''") + "'"


def quote_argv(argv: Sequence[str], stdin: PurePosixPath | None = None) -> str:
    """A shell command that runs `argv` in place of the shell, with stdin from that file or from /dev/null."""
    if not argv or not argv[0] or argv[0].startswith("-"):
        raise DeviceError("a command must begin with a program's name")
    command = "exec " + " ".join(map(quote, argv)) + " < " + quote(str(stdin or "/dev/null"))
    if len(command.encode()) > MAX_COMMAND_BYTES:
        raise DeviceError(f"the command {argv[0]} has more than {MAX_COMMAND_BYTES} bytes; pass data by a file")
    return command


def guard(command: str) -> str:
    """`command`, which runs only if it came as it was sent: it is sent twice and compared there. It must end by exec.

    adb has no sums of its own any more, and a flipped bit of `rm -rf A` is a command too. In base64, of which no
    flipped bit makes one; without spaces, of which one makes a NUL, where a shell stops reading. What reaches the last
    line did nothing, and says so. For devices from Android 7 on: older ones sum up, and may lack base64.
    """
    code = base64.b64encode(command.encode()).decode()
    return f'a={code}\nb={code}\n[\t"$a"\t=\t"$b"\t]||exit\t121\neval\t"$(echo\t$a|base64\t-d)"\nexit\t121'
