"""What a device's commands print, read as facts. Pure; a text that lacks a fact gives None, never an error."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

_DIGITS, _NUMBER = re.compile(r"[0-9]{1,18}"), re.compile(r"-?[0-9]{1,18}")  # more is nonsense
_DECIMAL = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SECTION = re.compile(r"^@@ (\w+)$", re.MULTILINE)
_PROPERTY = re.compile(r"^\[([^\]]+)\]: \[(.*)\]\r?$", re.MULTILINE)
_THERMAL_NAMES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
_TEMPERATURE = re.compile(r"Temperature\{mValue=(-?[0-9]{1,6}(?:\.[0-9]{1,9})?), mType=(-?[0-9]+), mName=([^,}]+)")
_SKIN = "3"  # android.hardware.thermal's TemperatureType
_POLICY_NUMBERS = {
    "scaling_cur_freq": "current_khz",
    "scaling_max_freq": "max_khz",  # what is allowed now
    "cpuinfo_max_freq": "hardware_max_khz",
}


@dataclass(frozen=True)
class Storage:
    total_bytes: int
    free_bytes: int


def split_sections(text: str) -> dict[str, str]:
    """The texts between lines `@@ name`, stripped."""
    _, *parts = _SECTION.split(text)
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def parse_facts(text: str) -> dict[str, str]:
    """Lines `NAME|SIZE|…`, NAME with or without folders: by SHA-256 what follows it. Other lines are left out."""
    found = {}
    for line in text.splitlines():
        name, _, facts = line.partition("|")
        digest = name.rpartition("/")[2]
        if _SHA256.fullmatch(digest) and _DIGITS.fullmatch(facts.partition("|")[0]):
            found[digest] = facts
    return found


def parse_df(text: str) -> Storage | None:
    """`df -k FOLDER`; a long file system name may stand on a line of its own."""
    words = text.split()
    for index, word in enumerate(words):
        if index >= 4 and re.fullmatch(r"\d+%", word) and all(map(_DIGITS.fullmatch, words[index - 3 : index])):
            return Storage(int(words[index - 3]) * 1024, int(words[index - 1]) * 1024)
    return None


def parse_properties(text: str) -> dict[str, str]:
    """`getprop`: lines `[name]: [value]`."""
    return dict(_PROPERTY.findall(text))


def parse_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo in bytes."""
    pairs = re.findall(r"^(\w+):\s+([0-9]{1,18}) kB", text, re.MULTILINE)
    return {name: int(value) * 1024 for name, value in pairs}


def parse_battery(text: str) -> dict[str, Any] | None:
    """`dumpsys battery`: level in percent, °C, and whether it hangs on a charger."""
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    level = _number(fields.get("level"))
    if level is None:
        return None
    tenths = _number(fields.get("temperature"))
    powered = [fields.get(f"{source} powered") for source in ("AC", "USB", "Wireless", "Dock")]
    return {
        "level_percent": level,
        "temperature_c": None if tenths is None else tenths / 10,
        "powered": "true" in powered if any(powered) else None,
    }


def parse_thermal(text: str) -> dict[str, Any] | None:
    """`dumpsys thermalservice`: the status that throttling follows, the sensors' °C, and the warmest of the skin's."""
    found = re.search(r"Thermal Status: ([0-9]{1,3})\b", text)
    if not found:
        return None
    status = int(found[1])
    current = text.partition("Current temperatures from HAL")[2] or text
    current = current.partition("Current cooling devices")[0]
    sensors = _TEMPERATURE.findall(current)
    return {
        "status": _THERMAL_NAMES[status] if status < len(_THERMAL_NAMES) else str(status),
        "temperatures_c": {name: float(value) for value, _, name in sensors},
        "skin_c": max((float(value) for value, kind, _ in sensors if kind == _SKIN), default=None),
    }


def thermal_level(status: object) -> int | None:
    """Of a status that `parse_thermal` gave: 0 is none, more is hotter."""
    if status in _THERMAL_NAMES:
        return _THERMAL_NAMES.index(str(status))
    return int(status) if isinstance(status, str) and _DIGITS.fullmatch(status) else None


def parse_battery_saver(text: str) -> bool | None:
    """`settings get global low_power`; a phone on which it was never switched on prints null."""
    return {"1": True, "0": False, "null": False}.get(text.strip())


def parse_cpu_policies(text: str) -> dict[str, dict[str, Any]] | None:
    """Lines `POLICY FILE VALUE…` of the kernel's cpufreq: the cores that share a frequency, that and its limits in kHz.
    What a policy does not tell is None; None where there is no policy.
    """
    policies: dict[int, dict[str, Any]] = {}
    for line in text.splitlines():
        number, _, fact = line.strip().partition(" ")
        name, _, value = fact.partition(" ")
        if not re.fullmatch(r"[0-9]{1,4}", number):
            continue
        unknown = {"cpus": None, "governor": None, **dict.fromkeys(_POLICY_NUMBERS.values())}
        policy = policies.setdefault(int(number), unknown)
        if name in _POLICY_NUMBERS:
            policy[_POLICY_NUMBERS[name]] = _number(value.strip())
        elif name in ("related_cpus", "scaling_governor"):
            policy["cpus" if name == "related_cpus" else "governor"] = value.strip() or None
    return {f"policy{number}": policies[number] for number in sorted(policies)} or None


def parse_uptime(text: str) -> float | None:
    """/proc/uptime, in seconds."""
    return next(iter(_decimals(text.split()[:1])), None)


def parse_load(text: str) -> dict[str, float] | None:
    """/proc/loadavg: tasks that run or wait, on average."""
    found = _decimals(text.split()[:3])
    return dict(zip(("1min", "5min", "15min"), found, strict=True)) if len(found) == 3 else None


def parse_cpuinfo_model(text: str) -> str | None:
    found = re.search(r"^(?:model name|Hardware)\s*: *(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else None


def _number(text: str | None) -> int | None:
    return int(text) if text and _NUMBER.fullmatch(text) else None


def _decimals(words: list[str]) -> list[float]:
    """Up to the first word that is no number."""
    return [float(word) for word in itertools.takewhile(_DECIMAL.fullmatch, words)]
