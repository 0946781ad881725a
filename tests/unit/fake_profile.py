"""A device made up for tests of `profile`: what it tells of itself, and a runner whose every event may be noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runs import EMULATED, budget, generate_events

from flashneuron.package.manifest import Package
from flashneuron.profile.session import Session

TINY = Path(__file__).parents[1] / "data" / "tiny_package"


@dataclass
class FakeDevice:
    """`told` are its conditions, one after the other; the last one stays."""

    name: str = "127.0.0.1:5038"
    told: list[dict[str, Any]] = field(default_factory=lambda: [EMULATED])
    on_event: Callable[[str], None] = lambda name: None
    calls: list[tuple[str, dict[str, str], str]] = field(default_factory=list)

    def events(self, verb: str, keys: Mapping[str, str], stdin: bytes = b"") -> Iterator[dict[str, Any]]:
        self.calls.append((verb, dict(keys), stdin.decode()))
        ram = int(keys["ram"]) if "ram" in keys else None
        answers: Any = (
            [{"event": "budget", **budget(ram)}]
            if verb == "budget"
            else generate_events(keys, list(range(7, 7 + int(keys["max_new_tokens"]))))
        )
        for event in answers:
            self.on_event(event["event"])
            yield event

    def conditions(self) -> dict[str, Any]:
        return self.told.pop(0) if len(self.told) > 1 else self.told[0]

    @property
    def generated(self) -> list[tuple[dict[str, str], str]]:
        """Keys and stdin."""
        return [(keys, stdin) for verb, keys, stdin in self.calls if verb == "generate"]

    def session(self, package: Package | None = None) -> Session:
        return Session(package or Package.open(TINY), self.name, self, {}, self.conditions, lambda: None)
