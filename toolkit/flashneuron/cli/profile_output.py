"""What `flashneuron profile` puts on stdout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flashneuron.profile.experiment import Measured
from flashneuron.report.render import render_json, render_text
from flashneuron.report.table import text_table
from flashneuron.units import format_bytes

STYLES = ("table", "json", "files")
_IF_SEVERAL = ("device", "prompt", "step")  # columns


def shown(measured: Sequence[Measured], style: str) -> str:
    """Tables, one JSON object, or the names of the run files."""
    if style == "files":
        return "\n".join(str(one.path) for one in measured)
    runs = [one.run for one in measured]
    if style == "json":
        return json.dumps(
            json.loads(render_json(runs)) | {"runs": [_facts(one) for one in measured]}, ensure_ascii=False
        )
    return f"{render_text(runs)}\n\nMemory\n{_memory_table(measured)}"


def _facts(one: Measured) -> dict[str, Any]:
    run = one.run
    facts = {"file": str(one.path), "device": run.device, "started": run.started, "repeat": run.repeat}
    more = run.model_dump(mode="json", include={"ladder_step", "asked", "warm_up", "cool_down"})
    return facts | more | {"ram_bytes": run.ram_bytes, "memory": run.result.memory.model_dump(mode="json")}


def _memory_table(measured: Sequence[Measured]) -> str:
    """At the end of each run, as the kernel counts it."""
    rows = [_memory_row(one) for one in measured]
    told = [name for name in rows[0] if name not in _IF_SEVERAL or len({row[name] for row in rows}) > 1]
    return text_table(told, [[row[name] for name in told] for row in rows])


def _memory_row(one: Measured) -> dict[str, str]:
    memory, cooled = one.run.result.memory, one.run.cool_down
    return {
        "device": one.run.device,
        "prompt": one.run.workload.source,
        "step": one.run.ladder_step or "–",
        "RAM": format_bytes(one.run.ram_bytes),
        "run": str(one.run.repeat + 1),
        "peak RSS": format_bytes(memory.peak_rss_bytes),
        "RssAnon": format_bytes(memory.rss_anon_bytes),
        "VmSwap": format_bytes(memory.vm_swap_bytes),
        "major faults": str(memory.major_faults),
        "started": {"cool": "cool", "warm": "warm"}.get(cooled.state if cooled else "", "not known"),
    }
