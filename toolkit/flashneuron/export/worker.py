"""Work in a process of its own, whose memory goes back to the system with it.

torch.export and ExecuTorch keep graphs, and with them weights, in caches that live as long as their process: about half
a layer in fp32 for each lowered layer, which over a model's layers would be the model. A new process takes seconds to
warm up, so one is kept until it was given RESTART_BYTES.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any

from flashneuron.errors import FlashneuronError

RESTART_BYTES = 512 << 20
_PR_SET_PDEATHSIG = 1


class Worker:
    """Runs one call after another elsewhere. Leaving the context ends the process; by an exception, at once."""

    def __init__(self, restart_bytes: int = RESTART_BYTES) -> None:
        self._restart_bytes, self._given_bytes = restart_bytes, 0
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and self._process is not None:
            self._process.kill()
        self._end()

    def run(self, function: Callable[..., None], *arguments: Any) -> None:
        """function(*arguments), all picklable; raises what it raises. Errors: FlashneuronError if the process dies."""
        message = pickle.dumps((function, arguments))
        if self._given_bytes + len(message) > self._restart_bytes:
            self._end()
        connection = self._connection or self._start()
        self._given_bytes += len(message)
        try:
            connection.send_bytes(message)
            error = connection.recv()
        except (EOFError, ConnectionError):
            code = self._end()
            what = f"a worker process ended with status {code}; is the machine short of memory?"
            raise FlashneuronError(f"{what} Run the same command again, it goes on") from None
        if error is not None:
            raise error

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid()), daemon=True)
        # Ctrl+C reaches the whole group: the worker is born deaf to it, and the parent decides.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return self._connection

    def _end(self) -> int | None:
        """The worker sees its connection closed and leaves. Returns its exit code."""
        if self._process is None or self._connection is None:
            return None
        self._connection.close()
        self._process.join()
        code = self._process.exitcode
        self._process = self._connection = None
        self._given_bytes = 0
        return code


def _die_with(parent: int) -> None:
    """A killed export is started again at once: work left over from before would write the same files. Linux only."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _serve(connection: Connection, parent: int) -> None:
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # libraries unblock it
    # Locks that libraries make are for this process alone: of the fork kind, they vanish with it even if it is killed.
    multiprocessing.set_start_method("fork", force=True)
    while True:
        try:
            function, arguments = pickle.loads(connection.recv_bytes())
        except EOFError:
            return
        try:
            function(*arguments)
        except Exception as error:
            try:
                connection.send(error)
            except Exception:  # not every error can be pickled
                connection.send(RuntimeError(f"{type(error).__name__}: {error}"))
        else:
            connection.send(None)
        del function, arguments
