"""The conditions under which a number is measured on a device."""

from __future__ import annotations

import json
from typing import Any

from flashneuron.device.parse import (
    parse_battery,
    parse_battery_saver,
    parse_cpu_policies,
    parse_cpuinfo_model,
    parse_df,
    parse_load,
    parse_meminfo,
    parse_properties,
    parse_thermal,
    parse_uptime,
    split_sections,
)
from flashneuron.device.protocol import Device

# An emulated phone tells here what it imitates and which limits are enforced. Real phones have no such file.
EMULATED_FACTS = "/vendor/etc/flashneuron-emulated.json"

# One round trip; what a device lacks leaves an empty section.
_SCRIPT = """
s() { echo; echo "@@ $1"; }
s properties; getprop
s kernel; uname -r
s abi; uname -m
s cores; nproc
s meminfo; cat /proc/meminfo
s cpuinfo; cat /proc/cpuinfo
s storage; at=$1; while [ ! -e "$at" ]; do at=${at%/*}; at=${at:-/}; done; df -k "$at"
s battery; dumpsys battery
s thermal; dumpsys thermalservice
s saver; command -v getprop > /dev/null && settings get global low_power
s policies; for p in /sys/devices/system/cpu/cpufreq/policy[0-9]*; do
for f in related_cpus scaling_governor scaling_cur_freq scaling_max_freq cpuinfo_max_freq; do
[ -r "$p/$f" ] && echo "${p##*policy} $f $(cat "$p/$f")"; done; done
s uptime; cat /proc/uptime
s load; cat /proc/loadavg
s release; . /etc/os-release && echo "$PRETTY_NAME"
s emulated; cat "$2"
"""


def conditions(device: Device) -> dict[str, Any]:
    """Device, system, memory, storage, battery, heat, frequencies and load, now. None where the device does not say."""
    result = device.shell(["sh", "-c", _SCRIPT, "conditions", str(device.root), EMULATED_FACTS])
    text = split_sections(result.text)
    properties = parse_properties(text.get("properties", ""))
    memory = parse_meminfo(text.get("meminfo", ""))
    storage = parse_df(text.get("storage", ""))
    cores = text.get("cores", "")
    cpu = parse_cpuinfo_model(text.get("cpuinfo", ""))
    return {
        "device": device.name,
        "kind": device.kind,
        "model": _first(properties, "ro.product.model", "ro.product.device"),
        "soc": _first(properties, "ro.soc.model", "ro.board.platform"),
        "cpu": cpu,
        "abi": text.get("abi") or None,
        "cores": int(cores) if cores.isdecimal() and len(cores) < 6 else None,
        "android": _first(properties, "ro.build.version.release"),
        "system": text.get("release") or None,
        "kernel": text.get("kernel") or None,
        "ram_total_bytes": memory.get("MemTotal"),
        "ram_available_bytes": memory.get("MemAvailable"),
        "storage_total_bytes": storage.total_bytes if storage else None,
        "storage_free_bytes": storage.free_bytes if storage else None,
        "battery": parse_battery(text.get("battery", "")),
        "battery_saver": parse_battery_saver(text.get("saver", "")),
        "thermal": parse_thermal(text.get("thermal", "")),
        "cpu_policies": parse_cpu_policies(text.get("policies", "")),
        "uptime_s": parse_uptime(text.get("uptime", "")),
        "load_average": parse_load(text.get("load", "")),
        "emulated": _json_object(text.get("emulated", "")),
    }


def _first(properties: dict[str, str], *names: str) -> str | None:
    return next((properties[name] for name in names if properties.get(name)), None)


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
