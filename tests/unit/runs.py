"""Runs made up for tests: what a runner would say, and whole run files. Nothing here was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flashneuron.profile.run_file import Run, Workload

MIB = 1 << 20
LAYERS = 3
ROLES = {"process": 10, "attention": 4, "head": 2, "predictor": 1, "kv": 1, "staging": 2}  # MiB; 20 are the minimum
ALL_RESIDENT = 40 * MIB


def counters(
    wall_us: int = 1000, bytes_read: int = 8192, hits: int = 3, misses: int = 1, **more: int
) -> dict[str, int]:
    """A consistent token: 10 % stall, 5 memory, 5 predictor, 30 attention, 20 FFN, 20 head, 10 nobody's."""
    parts = {"stall": 10, "memory": 5, "predictor": 5, "attention": 30, "ffn": 20, "head": 20}
    found = {f"{name}_us": wall_us * share // 100 for name, share in parts.items()}
    found |= {
        "wall_us": wall_us,
        "io_us": wall_us * 15 // 100,
        "bytes_wanted": bytes_read // 2,
        "bytes_read": bytes_read,
    }
    return found | {"requests": misses, "selected": hits + misses, "hits": hits, "misses": misses} | more


def budget(ram: int | None) -> dict[str, Any]:
    roles = [{"role": name, "bytes": size * MIB} for name, size in ROLES.items()]
    roles.append({"role": "neurons", "bytes": max(0, (ram or ALL_RESIDENT) - sum(ROLES.values()) * MIB)})
    return {"roles": roles, "minimum_bytes": 20 * MIB, "all_resident_bytes": ALL_RESIDENT, "ram_bytes": ram}


def generate_events(
    keys: Mapping[str, str], ids: list[int], wall_us: int = 1000, bytes_read: int = 8192
) -> Iterator[Any]:
    """Events of `generate`: the first token comes from the prefill and selected nothing."""
    ram = int(keys["ram"]) if "ram" in keys else None
    settings = {"residency": "cached", "predictor": "lowrank", "window": 7, "layout": "bundled", "kv": "fp16", **keys}
    yield {"event": "ready", "settings": settings, "budget": budget(ram), "load_us": 5000, "direct_io": True,
           "block_bytes": 4096, "warnings": []}  # fmt: skip
    yield {"event": "prefill", "tokens": 4, **counters(4000, 65536)}
    yield {"event": "token", "index": 0, "id": ids[0], **counters(wall_us=0, bytes_read=0, hits=0, misses=0)}
    for index, token_id in enumerate(ids[1:], 1):
        yield {"event": "token", "index": index, "id": token_id, **counters(wall_us + 10 * index, bytes_read)}
    decoded = [counters(wall_us + 10 * index, bytes_read) for index in range(1, len(ids))]
    totals = {name: sum(token[name] for token in decoded) for name in counters()}
    layer = {name: value // LAYERS for name, value in totals.items()} | {"hits": 3, "misses": 1, "selected": 4}
    yield {"event": "result", "finish": "length", "token_ids": ids, "tokens": len(ids),
           "decode_steps": len(decoded), "totals": totals,
           "layers": [{**layer, "window_union_mean": 40.5, "cache_rows": 64}] * LAYERS,
           "memory": {"peak_rss_bytes": (ram or ALL_RESIDENT) - MIB, "rss_anon_bytes": 9 * MIB, "vm_swap_bytes": 0,
                      "major_faults": 0, "ram_bytes": ram}}  # fmt: skip


EMULATED = {
    "device": "127.0.0.1:5038", "kind": "adb", "model": "Test Phone", "soc": "T1", "cpu": "test cpu", "cores": 8,
    "battery": {"level": 90}, "ram_available_bytes": 900 * MIB,
    "emulated": {"profile": "test-phone", "limits": []},
}  # fmt: skip
HOST = {"device": "host", "kind": "host", "cpu": "test cpu", "system": "Debian", "cores": 2, "emulated": None}


def make_run(
    ram: int | None = 24 * MIB, repeat: int = 0, wall_us: int = 1000, bytes_read: int = 8192,
    step: str | None = None, conditions: Mapping[str, Any] = EMULATED, **asked: Any,
) -> Run:  # fmt: skip
    keys = {name: str(value) for name, value in asked.items()} | ({"ram": str(ram)} if ram else {})
    ready, prefill, *tokens, result = generate_events(keys, [5, 6, 7, 8, 9], wall_us, bytes_read)
    return Run.model_validate(
        {
            "started": f"2026-01-0{repeat + 1}T00:00:00+00:00", "device": "127.0.0.1:5038", "repeat": repeat,
            "ladder_step": step, "package": {"name": "tiny", "sha256": "ab" * 32, "bytes": 12 * MIB},
            "workload": Workload(source="golden prompt", prompt_ids=[2, 5, 6], max_new_tokens=5), "asked": asked,
            "ready": ready, "prefill": prefill, "tokens": tokens, "result": result,
            "conditions_before": dict(conditions), "conditions_after": dict(conditions),
            "versions": {"flashneuron": "0"},
        }
    )  # fmt: skip
