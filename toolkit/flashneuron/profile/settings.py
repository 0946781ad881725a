"""The settings of a run: one table of names, values and help, for CLI flags, runner keys and JSON fields alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flashneuron.errors import InputError
from flashneuron.units import parse_bytes

Value = int | float | str | bool


@dataclass(frozen=True)
class Setting:
    """One option. `parse` turns its text into a value or raises ValueError with what was expected."""

    name: str
    metavar: str
    help: str
    parse: Callable[[str], Value]

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    def value(self, text: str) -> Value:
        try:
            return self.parse(text.strip())
        except ValueError as error:
            raise InputError(f"{self.flag} {text}: {error}") from None
        except InputError as error:
            raise InputError(f"{self.flag}: {error}") from None


def _choice(*names: str) -> Callable[[str], Value]:
    def parse(text: str) -> Value:
        if text not in names:
            raise ValueError(f"expected {' or '.join(names)}")
        return text

    return parse


def _whole(low: int, high: int | None = None, word: str | None = None) -> Callable[[str], Value]:
    upper, other = ("" if high is None else f" to {high}"), (f", or {word}" if word else "")

    def parse(text: str) -> Value:
        if word is not None and text == word:
            return text
        if not (text.isascii() and text.isdigit()) or int(text) < low or (high is not None and int(text) > high):
            raise ValueError(f"expected a whole number from {low}{upper}{other}")
        return int(text)

    return parse


def _real(accept: Callable[[float], bool], expected: str) -> Callable[[str], Value]:
    def parse(text: str) -> Value:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and accept(number)):
            raise ValueError(f"expected {expected}")
        return number

    return parse


def _bytes(low: int, high: int) -> Callable[[str], Value]:
    def parse(text: str) -> Value:
        size = 0 if text == "0" else parse_bytes(text)
        if not low <= size <= high:
            raise ValueError(f"expected a size from {low} to {high} bytes")
        return size

    return parse


LONGEST_READ = 64 << 20
NO_DRAFT = "none"


def _share_or(*words: str) -> Callable[[str], Value]:
    number = _real(lambda share: 0 <= share <= 1, f"a number from 0 to 1, {' or '.join(words)}")

    def parse(text: str) -> Value:
        return text if text in words else number(text)

    return parse


def _schedule(text: str) -> Value:
    """The runner's form: bytes as whole numbers."""
    changes = [part.split(":") for part in text.split(",")]
    if any(len(part) != 2 or not (part[0].isascii() and part[0].isdigit()) for part in changes):
        raise ValueError("expected TOKEN:SIZE, for instance 64:512M, and more of them after commas")
    tokens = [int(token) for token, _ in changes]
    if sorted({0, *tokens}) != [0, *tokens]:
        raise ValueError("expected tokens in ascending order, from 1")
    return ",".join(f"{token}:{parse_bytes(size)}" for token, (_, size) in zip(tokens, changes, strict=True))


def _package(text: str) -> Value:
    if not text:
        raise ValueError("expected a package, or none")
    return text


# What decides where bytes come from, in the order of help.
RUNTIME = (
    Setting(
        "ram",
        "SIZE",
        "DRAM budget, for instance 512M or 3G (K, M, G: powers of 1024); default: all resident.",
        parse_bytes,
    ),
    Setting(
        "residency",
        "naive|hybrid|cached",
        "Read everything for every token, keep half of the package resident, or cache the neurons of the last tokens.",
        _choice("naive", "hybrid", "cached"),
    ),
    Setting(
        "predictor",
        "none|lowrank|oracle",
        "Which neurons a token computes: all, the predicted, or exactly the active ones.",
        _choice("none", "lowrank", "oracle"),
    ),
    Setting(
        "window",
        "N|auto",
        "Keep the neurons of the last N tokens; auto: as many tokens as the budget holds.",
        _whole(1, word="auto"),
    ),
    Setting(
        "hot",
        "auto|off|SHARE",
        "Share of the neurons' budget, 0 to 1, that is pinned to the most frequent neurons; auto: chosen.",
        _share_or("auto", "off"),
    ),
    Setting("layout", "bundled|split", "A neuron's rows in one record, or apart.", _choice("bundled", "split")),
    Setting("order", "none|coactivation", "Order of the neurons on flash.", _choice("none", "coactivation")),
    Setting(
        "kv",
        "fp32|fp16|int8",
        "Element of the KV cache; an NPU's programs take fp16 alone; default: fp16.",
        _choice("fp32", "fp16", "int8"),
    ),
    Setting(
        "backend",
        "auto|xnnpack|qnn",
        "Attention on the CPU (xnnpack) or Qualcomm's NPU (qnn); auto: the NPU where package and device have it.",
        _choice("auto", "xnnpack", "qnn"),
    ),
    Setting("threads", "N", "Compute threads.", _whole(1, 256)),
    Setting(
        "io_threads", "N", "Threads that read from flash; default: the flash curve's best, else 8.", _whole(1, 256)
    ),
    Setting(
        "read_gap",
        "SIZE",
        "Gaps between records up to this are read across; default: what the flash curve says pays, else 0.",
        _bytes(0, LONGEST_READ),
    ),
    Setting(
        "max_read",
        "SIZE",
        "The longest read of several records; default: what the flash curve says, else 1M.",
        _bytes(4096, LONGEST_READ),
    ),
    Setting(
        "overlap",
        "on|off",
        "Compute while reads are in flight, and read early what the next layer will probably miss.",
        _choice("on", "off"),
    ),
    Setting(
        "gate_first",
        "on|off",
        "Of gated models: read gates first, and the rest only of neurons that their gate lets fire; default: off.",
        _choice("on", "off"),
    ),
)
# What changes the budget while tokens are generated.
CHANGING = (
    Setting(
        "ram_at",
        "TOKEN:SIZE[,…]",
        "Other DRAM budgets on the way, each from the token with this number on (the first has 0).",
        _schedule,
    ),
    Setting(
        "follow_memory",
        "SIZE",
        "Shrink the budget, and let it grow again up to --ram, so that so much of the device's memory stays free.",
        _bytes(0, 1 << 62),
    ),
)
# What drafts for the package: only what generates takes it.
DRAFTING = (
    Setting(
        "draft",
        "PKG|none",
        "A small package of the same tokenizer that drafts tokens, which PKG verifies together: the same text, fewer "
        "reads per token. All of it stays in DRAM, within --ram.",
        _package,
    ),
    Setting("draft_tokens", "N", "Tokens that --draft drafts at a time, 1 to 16; default: 4.", _whole(1, 16)),
)
CONTEXT = Setting("context", "N", "Tokens that the KV cache holds; default: prompt + new tokens.", _whole(1))
MAX_NEW_TOKENS = Setting("max_new_tokens", "N", "Tokens to generate.", _whole(1))
SAMPLING = (
    Setting("temperature", "T", "Sampling temperature; 0 is greedy.", _real(lambda t: t >= 0, "a number from 0")),
    Setting("top_k", "N", "Sample among the N likeliest tokens; 0 is off.", _whole(0, 2**31 - 1)),
    Setting(
        "top_p",
        "P",
        "Sample among the likeliest tokens that together reach probability P; 1 is off.",
        _real(lambda p: 0 < p <= 1, "a number over 0, up to 1"),
    ),
    Setting("seed", "N", "Seed of the sampler.", _whole(0, 2**64 - 1)),
)
_ALL = {setting.name: setting for setting in (*RUNTIME, *CHANGING, *DRAFTING, CONTEXT, MAX_NEW_TOKENS, *SAMPLING)}


@dataclass(frozen=True)
class RunSettings:
    """What was asked for; None leaves the choice to the runner, whose `ready` event says what is in force."""

    ram: int | None = None  # bytes
    residency: str | None = None
    predictor: str | None = None
    window: int | str | None = None  # tokens, or "auto"
    hot: float | str | None = None  # share of the neurons' budget, "auto" or "off"
    layout: str | None = None
    order: str | None = None
    kv: str | None = None
    backend: str | None = None
    threads: int | None = None
    io_threads: int | None = None
    read_gap: int | None = None  # bytes
    max_read: int | None = None  # bytes
    overlap: str | None = None
    gate_first: str | None = None
    ram_at: str | None = None  # TOKEN:BYTES,…
    follow_memory: int | None = None  # bytes
    draft: str | None = None  # folder of a package on this machine
    draft_tokens: int | None = None
    context: int | None = None  # tokens
    max_new_tokens: int | None = None
    ignore_eos: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    @classmethod
    def parse(cls, texts: Mapping[str, str | bool | None]) -> RunSettings:
        """Settings from the texts of options; absent and None stay open, a draft of none is none. Raises InputError
        naming the option.
        """
        values: dict[str, Any] = {}
        for name, text in texts.items():
            values[name] = _ALL[name].value(text) if isinstance(text, str) else text
        if values.get("draft_tokens") is not None and values.get("draft") is None:
            raise InputError("--draft-tokens needs --draft PKG")
        if values.get("draft") == NO_DRAFT:
            values["draft"] = values["draft_tokens"] = None
        return cls(**values)

    def asked(self) -> dict[str, Value]:
        """Only what was asked for, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def of_runtime(self) -> RunSettings:
        """Without what only generating takes: length, sampling and changes of the budget."""
        names = {setting.name for setting in (*RUNTIME, *DRAFTING, CONTEXT)}
        return RunSettings(**{name: value for name, value in asdict(self).items() if name in names})

    def to_keys(self) -> dict[str, str]:
        """The runner's keys (PROTOCOL.md); a draft lies elsewhere on the device (profile/drafts.py)."""
        return {name: _key_text(value) for name, value in self.asked().items()}


def _key_text(value: Value) -> str:
    return str(int(value)) if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)
