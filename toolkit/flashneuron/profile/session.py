"""A package on a device, ready to run: the runner's events as checked records."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

import flashneuron
from flashneuron.device.discover import open_device
from flashneuron.device.info import conditions
from flashneuron.device.npu import npu_keys
from flashneuron.device.protocol import Device
from flashneuron.device.sync import push_package, push_runner
from flashneuron.errors import FlashneuronError
from flashneuron.package.manifest import MANIFEST, Package
from flashneuron.profile.flash_curve import FlashCurve, find_curve
from flashneuron.profile.run_file import Budget, BudgetChange, PackageRef, Prefill, Ready, Result, TokenCounters
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.tuning import tuned
from flashneuron.progress import Progress

_R = TypeVar("_R", bound=BaseModel)
NO_KEYS: Mapping[str, str] = MappingProxyType({})
OnToken = Callable[[TokenCounters], None]


class EventSource(Protocol):
    """The runner: events of one call as they come; closing the iterator ends the call on the device."""

    def events(self, verb: str, keys: Mapping[str, str], stdin: bytes = b"") -> Iterator[dict[str, Any]]: ...


@dataclass(frozen=True)
class Generation:
    ready: Ready
    prefill: Prefill
    tokens: list[TokenCounters]
    budget_changes: list[BudgetChange]
    result: Result


@dataclass(frozen=True)
class Scores:
    """Teacher-forced: `nll` is the sum of −ln p over `tokens` tokens."""

    ready: Ready
    nll: float
    tokens: int
    result: Result


@dataclass(frozen=True)
class PushedDraft:
    folder: str  # on the device, of its manifest; its files lie in the package's store
    manifest_sha256: str


@dataclass(frozen=True)
class Session:
    """Calls go one after the other. Leaving a `with` block lets go of the device."""

    package: Package
    device: str  # what --device would say
    runner: EventSource
    place: Mapping[str, str]  # the runner's keys that say where the package lies, and what NPU there is
    conditions: Callable[[], dict[str, Any]]  # of the device, now
    close: Callable[[], None]
    curve: FlashCurve | None = None  # of the device, if it was probed
    link: Device | None = None  # to bring files back
    drafts: Mapping[str, PushedDraft] = field(default_factory=dict)  # by what --draft says

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def budget(self, settings: RunSettings) -> Budget:
        return one_event(self._events("budget", settings.of_runtime()), "budget", Budget)

    def generate(
        self,
        settings: RunSettings,
        prompt_ids: Sequence[int],
        on_token: OnToken | None = None,
        keys: Mapping[str, str] = NO_KEYS,
    ) -> Generation:
        """`keys`: for the runner, besides the settings."""
        with closing(self._events("generate", settings, [prompt_ids], keys)) as events:
            return collect_generation(events, on_token)

    def score(
        self, settings: RunSettings, sequences: Sequence[Sequence[int]], on_sequence: Callable[[int], None]
    ) -> Scores:
        """`on_sequence` is told how many tokens each finished sequence scored."""
        with closing(self._events("score", settings.of_runtime(), sequences)) as events:
            scores = collect_scores(events, on_sequence)
        expected = sum(len(sequence) - 1 for sequence in sequences)
        if scores.tokens != expected:
            raise FlashneuronError(f"the runner scored {scores.tokens} of {expected} tokens; report this defect")
        return scores

    def tuned(self, settings: RunSettings) -> RunSettings:
        """With what the flash curve says of reads, where the settings leave that open."""
        return tuned(settings, self.curve, self.package.manifest)

    def package_ref(self) -> PackageRef:
        manifest = self.package.manifest
        return PackageRef(
            name=manifest.name,
            sha256=hashlib.sha256(self.package.read(MANIFEST)).hexdigest(),
            bytes=sum(entry.bytes for entry in manifest.files),
            synthetic=manifest.synthetic,
        )

    def versions(self) -> dict[str, str]:
        return {"flashneuron": flashneuron.__version__, "package": self.package.manifest.created_by}

    def _events(
        self,
        verb: str,
        settings: RunSettings,
        sequences: Sequence[Sequence[int]] = (),
        keys: Mapping[str, str] = NO_KEYS,
    ) -> Generator[dict[str, Any]]:
        stdin = "".join(" ".join(map(str, ids)) + "\n" for ids in sequences).encode()
        asked = self.tuned(settings).to_keys()
        if settings.draft is not None:
            asked["draft"] = self.drafts[settings.draft].folder
        yield from self.runner.events(verb, {**self.place, **asked, **keys}, stdin)


def collect_generation(events: Iterable[dict[str, Any]], on_token: OnToken | None = None) -> Generation:
    """Of a call of the verb `generate`, to its end."""
    found: dict[str, Any] = {"tokens": [], "budget_changes": []}
    for event in events:
        match event.get("event"):
            case "ready":
                found["ready"] = _checked(Ready, event)
            case "prefill":
                found["prefill"] = _checked(Prefill, event)
            case "token":
                token = _checked(TokenCounters, event)
                found["tokens"].append(token)
                if on_token:
                    on_token(token)
            case "budget_change":
                found["budget_changes"].append(_checked(BudgetChange, event))
            case "result":
                found["result"] = _checked(Result, event)
    _complete(found, "ready", "prefill", "result")
    return Generation(**found)


def collect_scores(events: Iterable[dict[str, Any]], on_sequence: Callable[[int], None]) -> Scores:
    """Of a call of the verb `score`, to its end."""
    found: dict[str, Any] = {"nll": 0.0, "tokens": 0}
    for event in events:
        match event.get("event"):
            case "ready":
                found["ready"] = _checked(Ready, event)
            case "score":
                found["nll"] += float(event["nll"])
                found["tokens"] += int(event["tokens"])
                on_sequence(int(event["tokens"]))
            case "result":
                found["result"] = _checked(Result, event)
    _complete(found, "ready", "result")
    return Scores(**found)


def open_session(package: Package, device_spec: str | None, progress: Progress) -> Session:
    """Finds the device and pushes what it lacks. The caller closes the session."""
    device = open_device(device_spec)
    try:
        runner = push_runner(device, progress)
        pushed = push_package(device, package.folder, progress, runner)
        known = conditions(device)
        npu = npu_keys(device, runner, package.manifest, known, progress)
        curve = find_curve(known)
    except BaseException:
        device.close()
        raise
    runner.note = {"package": pushed.manifest_sha256, "local": str(package.folder.absolute())}
    place = {"package": str(pushed.folder)} | ({"store": str(pushed.store)} if pushed.store else {})
    keys = {**place, **npu}
    return Session(package, device.name, runner, keys, lambda: conditions(device), device.close, curve, device)


def one_event(events: Iterator[dict[str, Any]], name: str, record: type[_R]) -> _R:
    """The event `name` of a call, checked. Raises FlashneuronError where it is missing or breaks the protocol."""
    found: dict[str, Any] = {}
    for event in events:
        if event.get("event") == name:
            found[name] = _checked(record, event)
    _complete(found, name)
    checked: _R = found[name]
    return checked


def _checked(record: type[_R], event: dict[str, Any]) -> _R:
    try:
        return record.model_validate(event)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise FlashneuronError(
            f"the runner's {event.get('event')} event breaks its protocol at {where} ({first['msg']}); "
            "rebuild the runner: flashneuron runtime build"
        ) from None


def _complete(found: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if name not in found:
            raise FlashneuronError(f"the runner ended without its {name} event; see its log on stderr, and report this")
