"""From the events of a profiled method to rows that add up to its time. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

BETWEEN, AROUND, UNNAMED = "between operators", "around the NPU's work", "the compiler's own"
_WHOLE, _DELEGATED = "Method::execute", "DELEGATE_CALL"
_CALLS = (_DELEGATED, "OPERATOR_CALL")
_NPU_BUSY, _CYCLES = "Accelerator (execute) time (us)", re.compile(r"(?:(?P<node>\w+):)?(?P<id>.*OpId_\d+) \(cycles\)")


@dataclass(frozen=True)
class Event:
    """One event of a method's runs. Times are ns, but for what a delegate tells in a unit that its name ends with."""

    name: str
    instruction: int | None
    operator: str  # of the model, short; empty: unknown
    module: str  # of the model; empty: unknown
    values: Sequence[float]  # one a run


@dataclass(frozen=True)
class Row:
    """`operator` of `module` of a method, on `place`, over all runs."""

    operator: str
    module: str
    place: str  # NPU, XNNPACK, or CPU: ExecuTorch's own operators and what lies between them
    calls: int
    total_us: float


def rows_of(events: Sequence[Event], delegate: str) -> list[Row]:
    """Their times add up to that of the runs. `delegate`: NPU or XNNPACK, whoever the method was lowered for."""
    inside = defaultdict[int | None, list[Event]](list)
    for event in events:
        if event.name not in (_WHOLE, *_CALLS):
            inside[event.instruction].append(event)
    calls = [event for event in events if event.name in _CALLS]
    rows = [row for call in calls for row in _rows_of_call(call, inside[call.instruction], delegate)]
    for whole in (event for event in events if event.name == _WHOLE):
        rest = sum(whole.values) - sum(sum(call.values) for call in calls)
        rows.append(Row(BETWEEN, "", "CPU", len(whole.values), rest / 1e3))
    return rows


def merge(rows: Iterable[Row]) -> list[Row]:
    """Rows of several methods by operator, module and place, the longest first."""
    found = defaultdict[tuple[str, str, str], list[Row]](list)
    for row in rows:
        found[row.operator, row.module, row.place].append(row)
    merged = [Row(*key, sum(r.calls for r in same), sum(r.total_us for r in same)) for key, same in found.items()]
    return sorted(merged, key=lambda row: -row.total_us)


def node_of(event_name: str) -> str | None:
    """The node of the lowered graph that an NPU's event is about, if it tells one."""
    match = _CYCLES.fullmatch(event_name)
    return match["node"] if match else None


def short_operator(names: Iterable[str]) -> str:
    """`aten.native_layer_norm.default` is `native_layer_norm`; several of one call are joined."""
    parts = [name.replace("::", ".").split(".") for name in names]
    return " + ".join(dict.fromkeys(part[1] if len(part) > 1 else part[0] for part in parts))


def _rows_of_call(call: Event, inside: Sequence[Event], delegate: str) -> Iterator[Row]:
    cycles = [event for event in inside if _CYCLES.fullmatch(event.name)]
    total_us, runs = sum(call.values) / 1e3, len(call.values)
    if not sum(map(_sum, cycles)):
        named = call.operator or short_operator(event.name for event in inside[:1])
        yield Row(named or call.name, call.module, delegate if call.name == _DELEGATED else "CPU", runs, total_us)
        return
    # An NPU counts the cycles of operators; how long it worked it tells for the whole call.
    busy_us = min(total_us, sum(_sum(event) for event in inside if event.name == _NPU_BUSY) or total_us)
    per_cycle = busy_us / sum(map(_sum, cycles))
    for event in filter(_sum, cycles):
        yield Row(event.operator or UNNAMED, event.module, delegate, runs, _sum(event) * per_cycle)
    yield Row(AROUND, "", "CPU", runs, total_us - busy_us)


def _sum(event: Event) -> float:
    return sum(event.values)
