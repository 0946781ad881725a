"""A report of runs: HTML that opens offline, Markdown, JSON or plain text. Each says where its numbers are from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flashneuron.errors import InputError
from flashneuron.profile.run_file import Run
from flashneuron.report import plots
from flashneuron.report.metrics import PARTS, Point, differing, lines, points
from flashneuron.report.origin import conditions_rows, fact_rows, origins, remarks
from flashneuron.report.point_tables import Table, budget_rows, ladder_rows, milliseconds
from flashneuron.report.table import markdown_table, text_table
from flashneuron.units import format_bytes

_NAMES = {"ffn": "FFN", "kv": "KV"}
_PARTS = [(_NAMES.get(name, name), f"part-{name}") for name in PARTS]


def render_text(runs: Sequence[Run]) -> str:
    return _join(runs, text_table, "{}", "")


def render_markdown(runs: Sequence[Run]) -> str:
    conditions = markdown_table(("condition", "value"), [row[:2] for row in conditions_rows(runs)])
    return _join(runs, markdown_table, "## {}\n", f"\n\n## Conditions\n\n{conditions}\n")


def render_json(runs: Sequence[Run]) -> str:
    found = _points(runs)
    return json.dumps({"points": [_point_json(point) for point in found], "origins": origins(runs)}, ensure_ascii=False)


def render_html(runs: Sequence[Run]) -> str:
    found = _points(runs)
    budget, ladder = _split(found)
    environment = Environment(
        loader=PackageLoader("flashneuron.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html.j2").render(
        title=" · ".join(dict.fromkeys(run.package.name for run in runs)),
        origins=origins(runs),
        remarks=remarks(runs),
        runs=len(runs),
        first=_when(min(run.started for run in runs)),
        last=_when(max(run.started for run in runs)),
        cards=_cards(budget),
        budget=_budget_section(budget) if budget else None,
        ladder=_ladder_section(ladder) if ladder else None,
        facts=fact_rows(found),
        conditions=conditions_rows(runs),
    )


def _points(runs: Sequence[Run]) -> list[Point]:
    found = points(runs)
    if not found:
        raise InputError("no run decoded a token; measure with --max-new-tokens 2 or more")
    return found


def _split(found: Sequence[Point]) -> tuple[list[Point], list[Point]]:
    return [p for p in found if p.ladder_step is None], [p for p in found if p.ladder_step is not None]


def _join(runs: Sequence[Run], table: Any, heading: str, tail: str) -> str:
    budget, ladder = _split(_points(runs))
    blocks = [*origins(runs), *remarks(runs)]
    for name, chosen, rows in (("RAM budgets", budget, budget_rows), ("The ladder", ladder, ladder_rows)):
        if chosen:
            made = rows(chosen)
            blocks.append("\n".join([heading.format(name), table(made.headings, made.rows), "", made.note]))
    return "\n\n".join(blocks) + tail


def _budget_section(found: Sequence[Point]) -> dict[str, Any]:
    grouped, bars = lines(found), _labelled(found)
    roles = dict.fromkeys(role.role for point in found for role in point.runs[0].ready.budget.roles)
    return {
        "latency": Markup(plots.latency_plot(grouped)),
        "bytes": Markup(plots.bytes_plot(grouped)),
        "lines": [(label, f"s{number % plots.SERIES}") for number, label in enumerate(grouped) if label],
        "breakdown": Markup(plots.breakdown_plot("breakdown", bars)),
        "parts": _PARTS,
        "prefill": Markup(plots.amount_bars("prefill", "milliseconds", _milliseconds(bars))),
        "prompt": " / ".join(dict.fromkeys(point.facts["prompt"] for point in found)),
        "hits": Markup(plots.hits_plot(bars)),
        "bars": [(label, f"s{number % plots.SERIES}") for number, label in enumerate(bars)],
        "memory": Markup(plots.memory_plot(bars)),
        "roles": [(_NAMES.get(role, role), plots.role_variable(role)) for role in roles],
        "table": budget_rows(found),
    }


def _ladder_section(found: Sequence[Point]) -> dict[str, Any]:
    several = len({point.runs[0].asked.get("ram") for point in found}) > 1
    bars = {f"{p.ladder_step}{f' ({format_bytes(p.ram_bytes)})' if several else ''}": p for p in found}
    table: Table = ladder_rows(found)
    sizes = {label: (p.decode.bytes_read, format_bytes(p.decode.bytes_read)) for label, p in bars.items()}
    memory = {label: (p.peak_rss_bytes, format_bytes(p.peak_rss_bytes)) for label, p in bars.items()}
    requests = {label: (p.decode.requests, f"{p.decode.requests:.1f}") for label, p in bars.items()}
    return {
        "bytes": Markup(plots.amount_bars("ladder-bytes", "read per token", sizes)),
        "requests": Markup(plots.amount_bars("ladder-requests", "reads per token", requests)),
        "breakdown": Markup(plots.breakdown_plot("ladder-time", bars)),
        "parts": _PARTS,
        "memory": Markup(plots.amount_bars("ladder-memory", "peak RSS", memory)),
        "table": table,
    }


def _labelled(found: Sequence[Point]) -> dict[str, Point]:
    """Points by a label of the budget and of what differs besides."""
    names = differing(found)
    return {", ".join([format_bytes(p.ram_bytes), *(f"{n} {p.facts.get(n, '–')}" for n in names)]): p for p in found}


def _milliseconds(bars: dict[str, Point]) -> dict[str, tuple[float, str]]:
    return {label: (point.prefill_us, f"{milliseconds(point.prefill_us)} ms") for label, point in bars.items()}


def _cards(found: Sequence[Point]) -> list[dict[str, str]]:
    """The smallest and the largest budget in large type."""
    chosen = [min(found, key=lambda p: p.ram_bytes), max(found, key=lambda p: p.ram_bytes)] if found else []
    return [
        {
            "budget": format_bytes(point.ram_bytes),
            "share": f"{point.ram_bytes / point.runs[0].ready.budget.all_resident_bytes:.0%} of all resident",
            "latency": milliseconds(point.decode.latency_us.median),
            "low": milliseconds(point.decode.latency_us.low),
            "high": milliseconds(point.decode.latency_us.high),
            "rate": f"{point.decode.tokens_per_s:.1f}",
            "bytes": format_bytes(point.decode.bytes_read),
        }
        for point in {id(point): point for point in chosen}.values()
    ]


def _when(iso: str) -> str:
    return datetime.fromisoformat(iso).astimezone(UTC).strftime("%-d %B %Y, %H:%M UTC")


def _point_json(point: Point) -> dict[str, Any]:
    first = point.runs[0]
    return {
        "ladder_step": point.ladder_step,
        "ram_bytes": point.ram_bytes,
        "all_resident_bytes": first.ready.budget.all_resident_bytes,
        "minimum_bytes": first.ready.budget.minimum_bytes,
        "peak_rss_bytes": point.peak_rss_bytes,
        "runs": len(point.runs),
        "facts": point.facts,
        **asdict(point.decode),
        "layer_hit_rates": point.layer_hit_rates,
        "conditions_before": [run.conditions_before for run in point.runs],
        "conditions_after": [run.conditions_after for run in point.runs],
    }
