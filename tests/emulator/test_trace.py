"""A trace of a run on the emulated phone: valid, nested, in agreement with the counters, and without effect."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest
from conftest import SAMPLE
from tokenizers import Tokenizer

from flashneuron.profile.etdump import generate
from flashneuron.profile.run_file import Counters
from flashneuron.profile.session import Generation, Session
from flashneuron.profile.settings import RunSettings
from flashneuron.profile.trace import traced
from flashneuron.progress import SilentProgress

NEW_TOKENS = 12
ASKED = RunSettings(max_new_tokens=NEW_TOKENS, ignore_eos=True, io_threads=4)
NAIVE, CACHED = replace(ASKED, residency="naive"), replace(ASKED, window=2, ram=28 << 20)
SPLIT = replace(CACHED, layout="split", predictor="oracle", overlap="off")
PARTS = {"attention": ("attention",), "predictor": ("predict", "predict next"), "ffn": ("ffn",), "memory": ("memory",),
         "head": ("head",), "stall": ("stall",)}  # fmt: skip

Event = dict[str, Any]


@dataclass(frozen=True)
class Traced:
    made: Generation
    file: dict[str, Any]

    def slices(self, tid: int | None = None) -> list[Event]:
        found = [event for event in self.file["traceEvents"] if event["ph"] == "X"]
        return [event for event in found if tid is None or event["tid"] == tid]

    @property
    def reads(self) -> list[Event]:
        return [event for event in self.slices() if event["tid"] > 1]

    def enclosing(self) -> list[tuple[Event, Counters]]:
        """The slices of prefill and tokens, with what the runner counted."""
        outer = [event for event in self.slices(1) if event["name"] in ("prefill", "token")]
        return list(zip(outer, [self.made.prefill, *self.made.tokens], strict=True))


@pytest.fixture(scope="module")
def prompt() -> list[int]:
    ids: list[int] = Tokenizer.from_file(str(SAMPLE / "tokenizer.json")).encode("And the king said unto them,").ids
    return ids


@pytest.fixture(scope="module", params=[NAIVE, CACHED, SPLIT], ids=["naive", "cached", "split"])
def run(
    request: pytest.FixtureRequest, session: Session, prompt: list[int], tmp_path_factory: pytest.TempPathFactory
) -> Traced:
    file = tmp_path_factory.mktemp("trace") / "run.json"
    settings = minimum(session, request.param, prompt)
    with traced(session, file, SilentProgress()) as keys:
        made = generate(session, settings, prompt, lambda token: None, None, keys)
    assert made.result.token_ids == session.generate(settings, prompt).result.token_ids
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert session.link is not None
    assert b".trace" not in session.link.shell(["ls", str(session.link.root / "tmp")]).stdout
    return Traced(made, json.loads(file.read_text()))


def minimum(session: Session, settings: RunSettings, prompt: list[int]) -> RunSettings:
    """With a budget that makes it read."""
    context = len(prompt) + NEW_TOKENS
    needed = session.budget(replace(settings.of_runtime(), context=context, ram=None))
    ram = needed.minimum_bytes + (needed.all_resident_bytes - needed.minimum_bytes) // 4 + (1 << 20)
    return replace(settings, ram=ram)


def test_it_is_a_file_of_trace_events(run: Traced, session: Session) -> None:
    other = run.file["otherData"]
    assert (other["package"], other["dropped_spans"], other["emulated"]) == ("sample", 0, True)
    assert other["settings"] == run.made.ready.settings
    assert other["conditions"]["emulated"]["profile"]
    for event in run.file["traceEvents"]:
        assert isinstance(event["name"], str)
        assert event["pid"] == 1
        match event["ph"]:
            case "X":
                assert isinstance(event["tid"], int)
                assert isinstance(event["ts"], int)
                assert isinstance(event["dur"], int)
                assert event["ts"] >= 0 <= event["dur"]
            case "C":
                assert event["ts"] >= 0
                assert event["args"]["reads"] >= 0
            case phase:
                assert phase == "M"
    named = {event["tid"]: event["args"]["name"] for event in run.file["traceEvents"] if event["name"] == "thread_name"}
    assert named == {1: "compute"} | {worker + 1: f"I/O worker {worker}" for worker in range(1, 5)}
    labels = [event["args"]["labels"] for event in run.file["traceEvents"] if event["name"] == "process_labels"]
    assert labels == [f"emulated phone {other['conditions']['emulated']['profile']}"]
    assert any("memory beside the budget" in warning for warning in run.made.ready.warnings)


def test_slices_of_a_thread_nest(run: Traced) -> None:
    for tid in {event["tid"] for event in run.slices()}:
        open_until: list[int] = []
        for event in run.slices(tid):
            start, end = event["ts"], event["ts"] + event["dur"]
            while open_until and open_until[-1] <= start and end > open_until[-1]:
                open_until.pop()
            assert not open_until or end <= open_until[-1], event
            assert tid == 1 or not open_until, "reads of one worker come one after the other"
            if end > start:
                open_until.append(end)


def test_slices_add_up_to_the_counters_of_each_token(run: Traced) -> None:
    assert [event["name"] for event, _ in run.enclosing()] == ["prefill", *["token"] * NEW_TOKENS]
    assert [event["args"]["index"] for event, _ in run.enclosing()[1:]] == list(range(NEW_TOKENS))
    for outer, counters in run.enclosing():
        start, end = outer["ts"], outer["ts"] + outer["dur"]
        sums: Counter[str] = Counter()
        for event in run.slices(1):
            if start <= event["ts"] and event["ts"] + event["dur"] <= end:
                sums[event["name"]] += event["dur"]
        for part, found in PARTS.items():
            assert sum(sums[name] for name in found) == getattr(counters, f"{part}_us"), (part, outer)
        assert outer["dur"] >= counters.wall_us
        read = [event["args"]["bytes"] for event in run.reads if start <= submitted(event) < end]
        assert (sum(read), len(read)) == (counters.bytes_read, counters.requests)


def submitted(read: Event) -> int:
    return int(read["ts"]) - int(read["args"]["queued_us"])


def test_spans_and_reads_know_their_layer(run: Traced, session: Session) -> None:
    layers = set(range(session.package.manifest.model.layers))
    for name in ("attention", "ffn"):
        assert {event["args"]["layer"] for event in run.slices(1) if event["name"] == name} == layers
    files = {entry.path for entry in session.package.manifest.files}
    for read in run.reads:
        assert read["args"]["file"] in files
        assert ("layer" in read["args"]) != (
            read["args"]["file"] in ("embedding.bin",) or "head" in read["args"]["file"]
        )
    assert {read["args"]["layer"] for read in run.reads if "layer" in read["args"]} == layers


def test_the_counter_is_the_reads_in_flight(run: Traced) -> None:
    counts = [(event["ts"], event["args"]["reads"]) for event in run.file["traceEvents"] if event["ph"] == "C"]
    assert counts == sorted(counts)
    assert counts[-1][1] == 0
    for time_us, count in counts[:: max(1, len(counts) // 50)]:
        ends = [(submitted(read), read["ts"] + read["dur"]) for read in run.reads]
        assert count == sum(start <= time_us < end for start, end in ends)
