"""Facts out of what real commands print (Android 13 and 14, toybox, coreutils), and nothing out of nonsense."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashneuron.device.parse import (
    Storage,
    parse_battery,
    parse_battery_saver,
    parse_cpu_policies,
    parse_cpuinfo_model,
    parse_df,
    parse_facts,
    parse_load,
    parse_meminfo,
    parse_properties,
    parse_thermal,
    parse_uptime,
    split_sections,
    thermal_level,
)

BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  status: 2
  level: 87
  scale: 100
  temperature: 312
  technology: Li-ion
"""
THERMAL = """IsStatusOverride: false
ThermalEventListeners:
	callbacks: 2
	killed: false
Thermal Status: 2
Cached temperatures:
	Temperature{mValue=99.0, mType=0, mName=CPU0, mStatus=0}
HAL Ready: true
HAL connection:
	ThermalHAL 2.0 connected: yes
Current temperatures from HAL:
	Temperature{mValue=38.9, mType=0, mName=CPU0, mStatus=0}
	Temperature{mValue=-1.5, mType=3, mName=skin, mStatus=2}
Current cooling devices from HAL:
	CoolingDevice{mValue=0, mType=2, mName=gpu}
"""


def test_battery() -> None:
    assert parse_battery(BATTERY) == {"level_percent": 87, "temperature_c": 31.2, "powered": True}
    assert parse_battery("Can't find service: battery") is None


def test_thermal_reads_the_current_temperatures() -> None:
    assert parse_thermal(THERMAL) == {
        "status": "moderate",
        "temperatures_c": {"CPU0": 38.9, "skin": -1.5},
        "skin_c": -1.5,
    }
    assert parse_thermal("") is None


def test_properties_with_dos_ends_and_brackets_within() -> None:
    text = "[ro.product.model]: [Pixel 8]\r\n[a.b]: [x]: [y]\n[empty]: []\nnoise\n"
    assert parse_properties(text) == {"ro.product.model": "Pixel 8", "a.b": "x]: [y", "empty": ""}


def test_meminfo() -> None:
    text = "MemTotal:        7649836 kB\nMemAvailable:    3381252 kB\nHugePages_Total:       0\n"
    assert parse_meminfo(text) == {"MemTotal": 7649836 * 1024, "MemAvailable": 3381252 * 1024}


@pytest.mark.parametrize(
    "text",
    [
        "Filesystem  1K-blocks     Used Available Use% Mounted on\n/dev/block/dm-44 1000 300 700 31% /data\n",
        "Filesystem\n1K-blocks Used Available Use% Mounted on\n/dev/a/very/long/name\n  1000 300 700 31% /data/user/0",
    ],
)
def test_df(text: str) -> None:
    assert parse_df(text) == Storage(1000 * 1024, 700 * 1024)
    assert parse_df("df: /x: No such file or directory") is None


def test_sizes() -> None:
    name = "0f" * 32
    text = f"/a/{name}|12|2026-11-27 05:30:49.1 +0000|7\n/a/x|1|y|2\n{name}\nstat: cannot stat\n"
    assert parse_facts(text) == {name: "12|2026-11-27 05:30:49.1 +0000|7"}


def test_cpu_model() -> None:
    assert parse_cpuinfo_model("processor\t: 0\nmodel name\t: AMD EPYC\n") == "AMD EPYC"
    assert parse_cpuinfo_model("Hardware\t: Qualcomm Technologies, Inc SM8650\n") == "Qualcomm Technologies, Inc SM8650"
    assert parse_cpuinfo_model("") is None


def test_thermal_levels_order_what_the_phone_tells() -> None:
    levels = [thermal_level(parse_thermal(f"Thermal Status: {number}")["status"]) for number in range(9)]  # type: ignore[index]
    assert levels == list(range(9))
    assert [thermal_level(word) for word in (None, "", "warm", 3)] == [None] * 4


def test_battery_saver() -> None:
    assert [parse_battery_saver(text) for text in ("1\n", "0\r\n", "null\n", "", "cmd: Can't find service")] == [
        True, False, False, None, None,
    ]  # fmt: skip


def test_cpu_policies() -> None:
    text = """4 related_cpus 4 5 6 7
4 scaling_governor walt
4 scaling_cur_freq 2803200
4 scaling_max_freq 2803200
4 cpuinfo_max_freq 3187200
0 scaling_governor walt
0 scaling_cur_freq <unknown>
x scaling_governor walt
"""
    assert parse_cpu_policies(text) == {
        "policy0": {
            "cpus": None, "governor": "walt", "current_khz": None, "max_khz": None, "hardware_max_khz": None,
        },
        "policy4": {
            "cpus": "4 5 6 7", "governor": "walt", "current_khz": 2803200, "max_khz": 2803200,
            "hardware_max_khz": 3187200,
        },
    }  # fmt: skip
    assert parse_cpu_policies("") is None


def test_uptime_and_load() -> None:
    assert parse_uptime("16442.02 10008.38\n") == 16442.02
    assert parse_load("8.25 7.59 4.43 10/163 9790\n") == {"1min": 8.25, "5min": 7.59, "15min": 4.43}
    assert (parse_uptime("cat: Permission denied"), parse_load("1.0 2.0")) == (None, None)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 10**7)), unique_by=lambda pair: pair[0]))
def test_every_policy_keeps_its_frequency(told: list[tuple[int, int]]) -> None:
    text = "".join(f"{number} scaling_cur_freq {khz}\n" for number, khz in told)
    found = parse_cpu_policies(text) or {}
    assert [(name, policy["current_khz"]) for name, policy in found.items()] == [
        (f"policy{number}", khz) for number, khz in sorted(told)
    ]


def test_sections() -> None:
    assert split_sections("noise\n@@ one\n\na\nb\n\n@@ two\n") == {"one": "a\nb", "two": ""}


@settings(deadline=None)
@given(st.text())
def test_no_text_makes_them_fail(text: str) -> None:
    for parse in (
        parse_battery,
        parse_thermal,
        parse_properties,
        parse_meminfo,
        parse_df,
        parse_facts,
        parse_cpuinfo_model,
        parse_battery_saver,
        parse_cpu_policies,
        parse_uptime,
        parse_load,
        thermal_level,
        split_sections,
    ):
        parse(text)  # type: ignore[operator]
