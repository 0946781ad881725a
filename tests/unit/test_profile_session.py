"""What the host makes of a runner that does not keep its protocol, and the budgets it chooses to measure."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import EMULATED, MIB, budget, generate_events

from flashneuron.errors import FlashneuronError
from flashneuron.package.manifest import Package
from flashneuron.profile.budgets import spread_budgets
from flashneuron.profile.run_file import Budget
from flashneuron.profile.session import Session
from flashneuron.profile.settings import RunSettings

TINY = Path(__file__).parents[1] / "data" / "tiny_package"


class Recorded:
    """A runner that says these events, whatever it is asked; knows whether it was let go."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self._events = events
        self.closed = False

    def events(self, verb: str, keys: Mapping[str, str], stdin: bytes = b"") -> Iterator[dict[str, Any]]:
        try:
            yield from self._events
        finally:
            self.closed = True


def session(runner: Recorded) -> Session:
    return Session(Package.open(TINY), "host", runner, {}, lambda: EMULATED, lambda: None)


def test_events_of_later_minor_versions_are_ignored() -> None:
    events = [{"event": "weather", "sun": True}, *generate_events({}, [1, 2, 3])]
    assert [token.id for token in session(Recorded(events)).generate(RunSettings(), [2]).tokens] == [1, 2, 3]


@pytest.mark.parametrize("missing", ["ready", "prefill", "result"])
def test_a_runner_that_ends_early_is_an_error_that_names_what_is_missing(missing: str) -> None:
    events = [event for event in generate_events({}, [1, 2]) if event["event"] != missing]
    with pytest.raises(FlashneuronError, match=f"without its {missing} event"):
        session(Recorded(events)).generate(RunSettings(), [2])


def test_an_event_without_a_field_is_named() -> None:
    events = [event for event in generate_events({}, [1, 2]) if event["event"] != "token"]
    events.insert(2, {"event": "token", "index": 0, "id": 5})
    with pytest.raises(FlashneuronError, match="token event breaks its protocol at wall_us"):
        session(Recorded(events)).generate(RunSettings(), [2])


def test_scores_that_are_missing_are_noticed() -> None:
    ready, *_, result = generate_events({}, [1, 2])
    score = {"event": "score", "index": 0, "tokens": 2, "nll": 1.0}
    with pytest.raises(FlashneuronError, match="scored 2 of 5 tokens"):
        session(Recorded([ready, score, result])).score(RunSettings(), [[1, 2, 3], [1, 2, 3, 4]], lambda tokens: None)


def test_a_failing_listener_lets_go_of_the_runner() -> None:
    runner = Recorded(list(generate_events({}, [1, 2])))

    def stop(token: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session(runner).generate(RunSettings(), [2], stop)
    assert runner.closed


@given(st.integers(1, 1 << 42), st.integers(0, 1 << 42), st.integers(2, 9))
def test_budgets_ascend_from_the_minimum_to_all_resident(minimum: int, more: int, count: int) -> None:
    asked = Budget(roles=[], minimum_bytes=minimum, all_resident_bytes=minimum + more)
    found = spread_budgets(asked, count)
    assert found == sorted(set(found))
    assert 1 <= len(found) <= count
    assert minimum <= found[0]
    assert found[-1] == minimum + more


def test_four_budgets_of_the_test_package() -> None:
    sizes = spread_budgets(Budget.model_validate(budget(None)))
    assert [round(size / MIB, 1) for size in sizes] == [20.4, 26.9, 33.5, 40.0]
