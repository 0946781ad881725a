"""Budgets that change on the way: the settings, the runner's events, the run file, and what reports make of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import MIB, generate_events, make_run

from flashneuron.errors import FlashneuronError, InputError
from flashneuron.profile.run_file import BudgetChange, Run, read_run, write_run
from flashneuron.profile.session import collect_generation
from flashneuron.profile.settings import RunSettings
from flashneuron.report.budget_changes import effects, token_times_us
from flashneuron.report.metrics import facts
from flashneuron.report.render import render_html, render_json, render_markdown, render_text
from flashneuron.report.summary import generation_line


def change(index: int, ram_mib: int, freed_us: int = 700) -> dict[str, Any]:
    sizes = {"ram_bytes": ram_mib * MIB, "neurons_bytes": (ram_mib - 20) * MIB, "rss_bytes": (ram_mib - 1) * MIB}
    return {"event": "budget_change", "index": index, "cache_rows": 9, "freed_us": freed_us, **sizes}


def changing_events(*changes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for event in generate_events({"ram": str(32 * MIB), "ram_at": "2:1"}, [5, 6, 7, 8, 9]):
        if event["event"] == "token":
            yield from (one for one in changes if one["index"] == event["index"])
            event |= {"rss_bytes": (30 - event["index"]) * MIB}
        yield event


def changing_run() -> Run:
    made = collect_generation(changing_events(change(2, 28), change(4, 30, 90)))
    update = {"ready": made.ready, "tokens": made.tokens, "budget_changes": made.budget_changes}
    return make_run(32 * MIB).model_copy(update=update)


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 2**40)), min_size=1, unique_by=lambda each: each[0]))
@settings(deadline=None)
def test_a_schedule_goes_to_the_runner_in_bytes(changes: list[tuple[int, int]]) -> None:
    text = ",".join(f"{token}:{size}" for token, size in sorted(changes))
    assert RunSettings.parse({"ram_at": text}).to_keys() == {"ram_at": text}


def test_sizes_have_units_and_both_settings_stay_out_of_what_does_not_generate() -> None:
    parsed = RunSettings.parse({"ram_at": "64:24M,96:1.5G", "follow_memory": "1G", "ram": "2G"})
    assert parsed.to_keys() | {"ram": ""} == {
        "ram": "", "ram_at": f"64:{24 * MIB},96:{1536 * MIB}", "follow_memory": str(1024 * MIB),
    }  # fmt: skip
    assert parsed.of_runtime() == RunSettings(ram=2048 * MIB)


@pytest.mark.parametrize("text", ["", "5", "5:", "x:1M", "0:1M", "5:1M,5:2M", "7:1M,5:2M", "5:0", "5:1M:2", "-1:1M"])
def test_a_wrong_schedule_is_refused_by_name(text: str) -> None:
    with pytest.raises(InputError, match="--ram-at"):
        RunSettings.parse({"ram_at": text})


def test_a_generation_has_the_changes_and_says_so() -> None:
    made = collect_generation(changing_events(change(2, 28)))
    assert [each.index for each in made.budget_changes] == [2]
    assert [token.rss_bytes for token in made.tokens] == [(30 - n) * MIB for n in range(5)]
    assert "ram 32.0 MiB → 28.0 MiB at 2" in generation_line(made, "somewhere")
    with pytest.raises(FlashneuronError, match="budget_change event breaks its protocol"):
        collect_generation(changing_events({**change(2, 28), "freed_us": -1}))


def test_a_run_file_keeps_them_and_one_without_reads_as_before(tmp_path: Any) -> None:
    for run in (changing_run(), make_run()):
        write_run(run, tmp_path / "run.json")
        assert read_run(tmp_path / "run.json") == run
    data = make_run().model_dump(mode="json")
    del data["budget_changes"]
    (tmp_path / "run.json").write_text(json.dumps(data))
    assert read_run(tmp_path / "run.json").budget_changes == []


def test_a_change_counts_into_the_token_after_it() -> None:
    run = changing_run()
    assert token_times_us(run) == {1: 1010, 2: 1020 + 700, 3: 1030, 4: 1040 + 90}
    first, second = effects(run)
    assert (first.longest_us, second.longest_us) == (1720, 1130)
    assert first.times_median == pytest.approx(1720 / 1080)
    assert first.rss_bytes == 27 * MIB  # after the second token, which is number 3
    assert second.rss_bytes == 26 * MIB  # the run goes no further
    alone = run.model_copy(update={"budget_changes": [BudgetChange.model_validate(change(5, 28))]})
    assert effects(alone)[0].longest_us == 700


@pytest.mark.parametrize("render", [render_html, render_markdown, render_text])
def test_reports_show_the_budget_over_time_only_where_it_changed(render: Any) -> None:
    text = render([changing_run()])
    assert "Budgets over time" in text
    assert "32.0 MiB → 28.0 MiB" in text
    assert "28.0 MiB → 30.0 MiB" in text
    assert "Budgets over time" not in render([make_run()])


def test_a_schedule_is_read_with_units() -> None:
    assert facts(changing_run())["ram_at"] == "2:1 B"


def test_the_page_draws_it_and_the_json_tells_it() -> None:
    page = render_html([changing_run()])
    assert 'aria-label="Budget and memory"' in page
    assert 'aria-label="Time of each token"' in page
    (point,) = json.loads(render_json([changing_run()]))["points"]
    assert [each["index"] for each in point["budget_changes"][0]] == [2, 4]
