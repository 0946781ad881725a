"""Files travel to a device's tmp folder, several at once, while its runner hashes what has arrived of them."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from pathlib import Path

from flashneuron.device.protocol import Device
from flashneuron.device.runner import Runner
from flashneuron.device.shell_result import check
from flashneuron.errors import DeviceError
from flashneuron.progress import Advance

ARRIVING = "tmp/package.part"  # below the root
# $2…: names in ARRIVING, which get their final place. $0: the root.
TAKE_UP = f'(cd "$0/{ARRIVING}" && shift && exec mv -f "$@" ../../objects/) || exit 1; '
_RENAMED_BYTES = 256 * 2**20  # renamed at once: what an interrupted push sends again
_RENAMED_FILES = 200  # a command line has an end
_LOOK_S = 0.5
_LOST_AFTER = 10  # times that the runner finds nothing new, when everything was sent


class Transfer:
    """One push's files, by SHA-256: where they lie here, and their bytes. Precondition: the store is locked."""

    def __init__(self, device: Device, runner: Runner, files: Mapping[str, tuple[Path, int]], advance: Advance) -> None:
        self._device = device
        self._runner = runner
        self._files = files
        self._advance = advance
        self._order = sorted(files, key=lambda digest: -files[digest][1])  # none travels alone at the end
        self._queue = deque(self._order)
        self._sent, self._hashed, self._renamed = set[str](), set[str](), set[str]()
        self._stop, self._counting = threading.Event(), threading.Lock()

    def run(self) -> list[str]:
        """Returns those that are whole but still await TAKE_UP, fewer than a command line holds; the others are in
        their final place. The first failure ends it all; what is not whole then is removed, as far as the device can
        be reached.
        """
        try:
            self._travel()
        except BaseException:
            with suppress(DeviceError):
                while self._ready():
                    self._take_up()
                self._device.shell(["rm", "-rf", str(self._device.root / ARRIVING)])
            raise
        while len(self._ready()) > _RENAMED_FILES:
            self._take_up()
        return self._ready()

    def _travel(self) -> None:
        tasks: list[Callable[[], None]] = [self._follow, *[self._send] * self._device.parallel_streams]
        with ThreadPoolExecutor(len(tasks)) as pool:
            running = [pool.submit(task) for task in tasks]
            try:
                while wait(running, _LOOK_S, FIRST_EXCEPTION).not_done and not any(map(_failed, running)):
                    if sum(self._files[digest][1] for digest in self._ready()) >= _RENAMED_BYTES:
                        self._take_up()
            finally:
                self._stop.set()
        errors = [error for error in (each.exception() for each in running) if error]
        if errors:
            raise next((error for error in errors if not isinstance(error, _StoppedError)), errors[0])

    def _send(self) -> None:
        with self._device.pushing() as push:
            while not self._stop.is_set():
                try:
                    digest = self._queue.popleft()
                except IndexError:
                    return
                push(self._files[digest][0], self._device.root / ARRIVING / digest, self._counted)
                self._sent.add(digest)

    def _counted(self, done: float) -> None:
        if self._stop.is_set():
            raise _StoppedError
        with self._counting:
            self._advance(done)

    def _follow(self) -> None:
        arriving, waiting = self._device.root / ARRIVING, 0
        lines = "".join(f"{self._files[digest][1]} {arriving / digest}\n" for digest in self._order).encode()
        with closing(self._runner.events("hash-arriving", {}, lines)) as events:
            for event in events:
                if self._stop.is_set() and len(self._sent) < len(self._files):
                    raise _StoppedError
                if event["event"] == "hash":
                    waiting = 0
                    self._hash_came(str(event.get("path")).rpartition("/")[2], str(event.get("sha256")))
                elif len(self._sent) == len(self._files):
                    waiting += 1
                if waiting > _LOST_AFTER:
                    break
        if left := self._files.keys() - self._hashed:
            raise damaged(self._device, self._files[min(left)][0], min(left))

    def _hash_came(self, name: str, sha256: str) -> None:
        if name not in self._files:
            raise DeviceError(f"{self._device.name} speaks of a file that was not sent; push again")
        if name != sha256:
            raise damaged(self._device, self._files[name][0], name)
        self._hashed.add(name)

    def _ready(self) -> list[str]:
        return sorted((self._hashed & self._sent) - self._renamed)

    def _take_up(self) -> None:
        ready = self._ready()[:_RENAMED_FILES]
        argv = ["sh", "-c", TAKE_UP, str(self._device.root), "", *ready]
        check(self._device.shell(argv), "rename what arrived")
        self._renamed.update(ready)


def _failed(task: Future[None]) -> bool:
    return task.done() and task.exception() is not None


class _StoppedError(Exception):
    """Another part of the transfer has failed."""


def damaged(device: Device, local: Path, digest: str) -> DeviceError:
    """What did not arrive as `digest`: it was not that here, or is not that there."""
    if sha256(local) != digest:
        return DeviceError(f"{local} is not what its manifest says: it was changed or damaged; export or copy it again")
    return DeviceError(f"{local.name} arrived on {device.name} damaged; push again")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
