"""Settings: every option's text is accepted or refused in one line, and reaches the runner under its own name."""

import pytest

from flashneuron.errors import InputError
from flashneuron.profile.settings import RunSettings


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ram", "1.5M", 1572864),
        ("window", "auto", "auto"),
        ("read_gap", "0", 0),
        ("read_gap", "16K", 16384),
        ("max_read", "512K", 524288),
        ("window", "4", 4),
        ("residency", "hybrid", "hybrid"),
        ("hot", "auto", "auto"),
        ("hot", "0.5", 0.5),
        ("order", "coactivation", "coactivation"),
        ("draft", "small.fnpkg", "small.fnpkg"),
        ("temperature", "0", 0.0),
        ("top_p", "1", 1.0),
        ("seed", "18446744073709551615", 2**64 - 1),
    ],
)
def test_accepted(name: str, text: str, value: object) -> None:
    assert RunSettings.parse({name: text}).asked() == {name: value}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ram", "abc"), ("ram", "0"), ("ram", ""), ("ram", "-1M"),
        ("window", "0"), ("window", "1.5"), ("window", "-1"), ("window", "all"), ("window", "٤"),
        ("residency", "resident"), ("layout", ""), ("kv", "int4"), ("predictor", "lowrank,none"),
        ("hot", "1.5"), ("hot", "warm"), ("order", "random"),
        ("draft", ""), ("draft_tokens", "0"), ("draft_tokens", "17"),
        ("threads", "0"), ("io_threads", "257"), ("max_new_tokens", "0"), ("context", "x"),
        ("read_gap", "65M"), ("read_gap", "-1"), ("max_read", "0"), ("max_read", "4095"), ("max_read", "1G"),
        ("temperature", "-0.1"), ("temperature", "nan"), ("temperature", "inf"), ("top_k", "-1"),
        ("top_p", "0"), ("top_p", "1.01"), ("top_p", "half"), ("seed", "18446744073709551616"),
    ],
)  # fmt: skip
def test_refused_in_one_line_that_names_the_option(name: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        RunSettings.parse({name: text})
    message = str(caught.value)
    assert message.startswith("--" + name.replace("_", "-"))
    assert "\n" not in message


def test_runner_keys_hold_only_what_was_asked() -> None:
    asked = RunSettings.parse(
        {"ram": "16M", "io_threads": "8", "temperature": "0.8", "ignore_eos": True, "window": None}
    )
    assert asked.to_keys() == {"ram": "16777216", "io_threads": "8", "temperature": "0.8", "ignore_eos": "1"}
    assert RunSettings().to_keys() == {}


def test_a_draft_of_none_is_none_and_its_tokens_need_one() -> None:
    assert RunSettings.parse({"draft": "none", "draft_tokens": "2"}) == RunSettings()
    assert RunSettings.parse({"draft": "p", "draft_tokens": "2"}).to_keys() == {"draft": "p", "draft_tokens": "2"}
    with pytest.raises(InputError, match="--draft-tokens needs --draft PKG"):
        RunSettings.parse({"draft": None, "draft_tokens": "2"})


def test_of_runtime_drops_sampling_and_length() -> None:
    asked = RunSettings(ram=1, context=9, max_new_tokens=3, temperature=1.0, seed=2, ignore_eos=True)
    assert asked.of_runtime().asked() == {"ram": 1, "context": 9}
