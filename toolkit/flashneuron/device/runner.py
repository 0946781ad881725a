"""The runner on a device, as the host sees it: a verb goes in, events come out (PROTOCOL.md)."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import flashneuron
from flashneuron.device import detached
from flashneuron.device.protocol import Device
from flashneuron.device.run_events import events_of
from flashneuron.device.runner_words import explain_death, parse_event
from flashneuron.errors import DeviceError, LinkLost

RUNNER = "flashneuron-runner"
_REMOVE_AND_RUN = 'rm -f "$0"; exec "$@"'  # stdin is open by then, and nothing is left of it whatever happens
_LONG = {"generate", "score"}  # of these a lost link must not cost the result


class Runner:
    """A runner of this version that lies in `folder` on `device`."""

    def __init__(self, device: Device, folder: PurePosixPath) -> None:
        self.device = device
        self.folder = folder
        self.note: dict[str, Any] = {}  # what a later `attach` should know of the runs

    def events(self, verb: str, keys: Mapping[str, str], stdin: bytes = b"") -> Generator[dict[str, Any]]:
        """Run `verb` and yield its events as they come; leaving the iterator early ends the runner.

        Raises RunnerError for its `error` event, DeviceError if it dies without one or the device goes away. A long
        verb runs detached: it survives a lost link, and a host that dies, for `flashneuron attach`.
        """
        argv = [str(self.folder / RUNNER), verb]
        argv += [] if verb == "version" else [f"version={flashneuron.__version__}"]
        argv += [f"{key}={value}" for key, value in keys.items()]
        if verb in _LONG:
            yield from self._detached(verb, argv, stdin, keys)
            return
        source = self.device.root / "tmp" / f"{uuid.uuid4().hex}.stdin" if stdin else None
        if source:
            self.device.write(stdin, source)
            argv = ["sh", "-c", _REMOVE_AND_RUN, str(source), *argv]
        with self.device.stream(argv, stdin=source) as running:
            for line in running:
                yield parse_event(line)
            if running.exit_code != 0:
                raise DeviceError(explain_death(verb, running.exit_code, running.stderr))

    def _detached(self, verb: str, argv: list[str], stdin: bytes, keys: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        started = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"
        request = {"version": flashneuron.__version__, "verb": verb, "started": started, "keys": dict(keys)}
        request |= self.note
        name = detached.start(self.device, argv, stdin, request)
        try:
            yield from events_of(self.device, name, verb)
        except LinkLost:
            raise  # it goes on
        except BaseException as error:
            try:
                detached.stop(self.device, name)
                detached.remove(self.device, name)
            except DeviceError:
                if isinstance(error, KeyboardInterrupt | GeneratorExit):
                    how = f"when it is back: flashneuron attach {name} --stop"
                    raise LinkLost(f"{self.device.name} does not answer, so the run goes on there; {how}") from None
            raise
        with suppress(DeviceError):  # all is read; what stays is removed by a later run
            detached.remove(self.device, name)
