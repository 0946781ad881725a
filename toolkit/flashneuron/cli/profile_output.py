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
    several = len({one.run.device for one in measured}) > 1
    rows = []
    for one in measured:
        memory, cooled = one.run.result.memory, one.run.cool_down
        rows.append(
            (
                *([one.run.device] if several else []),
                format_bytes(one.run.ram_bytes),
                one.run.ladder_step or "–",
                str(one.run.repeat + 1),
                format_bytes(memory.peak_rss_bytes),
                format_bytes(memory.rss_anon_bytes),
                format_bytes(memory.vm_swap_bytes),
                str(memory.major_faults),
                {"cool": "cool", "warm": "warm"}.get(cooled.state if cooled else "", "not known"),
            )
        )
    headings = ("RAM", "step", "run", "peak RSS", "RssAnon", "VmSwap", "major faults", "started")
    return text_table(("device", *headings) if several else headings, rows)
