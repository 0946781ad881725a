"""The worker process: calls, errors, restarts, and its end."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flashneuron.errors import FlashneuronError, InputError
from flashneuron.export.worker import Worker


def write_pid(path: Path, padding: bytes = b"") -> None:
    path.write_text(str(os.getpid()))


def fail(error: Exception) -> None:
    raise error


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def blocked_signals(path: Path) -> None:
    path.write_text(str(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())))


class Unpicklable(Exception):
    def __reduce__(self) -> str:
        raise TypeError("no")


def fail_unpicklable() -> None:
    raise Unpicklable("the reason")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_calls_share_one_other_process_that_ends_with_the_context(tmp_path: Path) -> None:
    with Worker() as worker:
        worker.run(write_pid, tmp_path / "a")
        worker.run(write_pid, tmp_path / "b")
        pid = int((tmp_path / "a").read_text())
        assert alive(pid)
    assert pid == int((tmp_path / "b").read_text())
    assert pid != os.getpid()
    assert not alive(pid)


def test_it_is_replaced_after_so_many_bytes(tmp_path: Path) -> None:
    with Worker(restart_bytes=3000) as worker:
        for name in "abc":
            worker.run(write_pid, tmp_path / name, bytes(1000))
    a, b, c = ((tmp_path / name).read_text() for name in "abc")
    assert a == b != c
    assert not alive(int(a))


def test_errors_come_back_and_the_worker_goes_on(tmp_path: Path) -> None:
    with Worker() as worker:
        with pytest.raises(InputError, match="wrong"):
            worker.run(fail, InputError("wrong"))
        with pytest.raises(OSError, match="full") as caught:
            worker.run(fail, OSError(errno.ENOSPC, "full"))
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(RuntimeError, match="Unpicklable: the reason"):
            worker.run(fail_unpicklable)
        worker.run(write_pid, tmp_path / "a")
    assert (tmp_path / "a").exists()


def test_a_death_is_one_line_and_the_next_call_starts_anew(tmp_path: Path) -> None:
    with Worker() as worker:
        with pytest.raises(FlashneuronError, match="ended with status -9; is the machine short of memory"):
            worker.run(die)
        worker.run(write_pid, tmp_path / "a")


def interrupted(path: Path) -> None:
    with Worker() as worker:
        worker.run(write_pid, path)
        raise KeyboardInterrupt


def test_an_interrupted_context_ends_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "a")
    assert not alive(int((tmp_path / "a").read_text()))


def test_ctrl_c_is_the_parents_business(tmp_path: Path) -> None:
    with Worker() as worker:
        worker.run(blocked_signals, tmp_path / "a")
    assert (tmp_path / "a").read_text() == "True"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def stay(path: Path) -> None:
    write_pid(path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)
    time.sleep(600)


def run_and_stay(path: Path) -> None:
    with Worker() as worker:
        worker.run(stay, path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_it_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = multiprocessing.get_context("spawn").Process(target=run_and_stay, args=(tmp_path / "pid",))
    parent.start()
    wait_until(lambda: (tmp_path / "pid").exists())
    pid = int((tmp_path / "pid").read_text())
    assert alive(pid)
    parent.kill()
    parent.join()
    wait_until(lambda: not alive(pid))


def wait_until(done: Callable[[], bool]) -> None:
    for _ in range(600):
        if done():
            return
        time.sleep(0.1)
    raise AssertionError("not within a minute")
