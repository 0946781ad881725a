"""A report of runs: HTML that opens offline, Markdown, JSON or plain text. Each says where its numbers are from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from flashneuron.errors import InputError
from flashneuron.profile.run_file import Run
from flashneuron.report import plots
from flashneuron.report.budget_changes import changes_json, changes_section, changes_table
from flashneuron.report.drawing import series_variable
from flashneuron.report.flash_section import curve_json, probed_devices, section
from flashneuron.report.marks import marked_line, marks
from flashneuron.report.metrics import PARTS, Point, differing, lines, points
from flashneuron.report.origin import conditions_rows, fact_rows, origins, remarks
from flashneuron.report.page import render_page, when
from flashneuron.report.point_tables import Table, budget_rows, ladder_rows, ladder_variants, milliseconds
from flashneuron.report.prediction import error, prediction_line
from flashneuron.report.preparation import preparation_json, preparation_rows
from flashneuron.report.table import markdown_table, text_table
from flashneuron.units import format_bytes

_BUDGET, _STEP = "RAM budget", "step of the ladder"
_NAMES = {"ffn": "FFN", "kv": "KV"}
_PARTS = [(_NAMES.get(name, name), f"part-{name}") for name in PARTS]


def render_text(runs: Sequence[Run]) -> str:
    return _join(runs, text_table, "{}", "{}", "")


def render_markdown(runs: Sequence[Run]) -> str:
    conditions = markdown_table(("condition", "value"), [row[:2] for row in conditions_rows(runs)])
    made = preparation_rows(_points(runs))
    before = f"## Before the runs\n\n{markdown_table(made.headings, made.rows)}\n\n{made.note}"
    return _join(runs, markdown_table, "**{}**", "## {}\n", f"\n\n## Conditions\n\n{conditions}\n\n{before}\n")


def render_json(runs: Sequence[Run]) -> str:
    found = _points(runs)
    data = {
        "marks": marks(runs),
        "points": [_point_json(point) for point in found],
        "origins": origins(runs),
        "remarks": remarks(runs),
        "prediction": prediction_line(found),
        "flash_curves": [curve_json(device) for device in probed_devices(found)],
    }
    return json.dumps(data, ensure_ascii=False)


def render_html(runs: Sequence[Run]) -> str:
    found = _points(runs)
    budget, ladder = _split(found)
    return render_page(
        "report.html.j2",
        runs,
        kind="report",
        title=" · ".join(dict.fromkeys(run.package.name for run in runs)),
        count=len(runs),
        first=when(min(run.started for run in runs)),
        last=when(max(run.started for run in runs)),
        cards=_cards(budget),
        budget=_budget_section(budget) if budget else None,
        ladder=_ladder_section(ladder) if ladder else None,
        changes=changes_section(found),
        flash=[section(device, number) for number, device in enumerate(probed_devices(found))],
        facts=fact_rows(found),
        conditions=conditions_rows(runs),
        preparation=preparation_rows(found),
    )


def _points(runs: Sequence[Run]) -> list[Point]:
    found = points(runs)
    if not found:
        raise InputError("no run decoded a token; measure with --max-new-tokens 2 or more")
    return found


def _split(found: Sequence[Point]) -> tuple[list[Point], list[Point]]:
    return [p for p in found if p.ladder_step is None], [p for p in found if p.ladder_step is not None]


def _join(runs: Sequence[Run], table: Any, mark: str, heading: str, tail: str) -> str:
    budget, ladder = _split(_points(runs))
    blocks = [*marked_line(runs, mark), *origins(runs), *remarks(runs)]
    for name, chosen, rows in (("RAM budgets", budget, budget_rows), ("The ladder", ladder, ladder_rows)):
        if chosen:
            made = rows(chosen)
            blocks.append("\n".join([heading.format(name), table(made.headings, made.rows), "", made.note]))
    if changes := changes_table([*budget, *ladder]):
        blocks.append(
            "\n".join([heading.format("Budgets over time"), table(changes.headings, changes.rows), "", changes.note])
        )
    blocks += filter(None, [prediction_line(budget)])
    return "\n\n".join(blocks) + tail


def _budget_section(found: Sequence[Point]) -> dict[str, Any]:
    grouped, bars = lines(found), _labelled(found)
    roles = dict.fromkeys(role.role for point in found for role in point.runs[0].ready.budget.roles)
    return {
        "latency": Markup(plots.latency_plot(grouped)),
        "bytes": Markup(plots.bytes_plot(grouped)),
        "lines": [(label, series_variable(number)) for number, label in enumerate(grouped) if label],
        "breakdown": Markup(plots.breakdown_plot("breakdown", _BUDGET, bars)),
        "parts": _PARTS,
        "prefill": Markup(plots.amount_bars("prefill", _BUDGET, "time of the prompt, ms", _milliseconds(bars))),
        "prompt": " / ".join(dict.fromkeys(point.facts["prompt"] for point in found)),
        "hits": Markup(plots.hits_plot(bars)),
        "bars": [(label, series_variable(number)) for number, label in enumerate(bars)],
        "memory": Markup(plots.memory_plot(_BUDGET, bars)),
        "roles": [(_NAMES.get(role, role), plots.role_variable(role)) for role in roles],
        "table": budget_rows(found),
        "prediction": prediction_line(found),
    }


def _ladder_section(found: Sequence[Point]) -> dict[str, Any]:
    bars = _distinct([", ".join([p.ladder_step or "–", *ladder_variants(found)[id(p)].values()]) for p in found], found)
    table: Table = ladder_rows(found)
    sizes = {label: (p.decode.bytes_read, format_bytes(p.decode.bytes_read)) for label, p in bars.items()}
    memory = {label: (p.peak_rss_bytes, format_bytes(p.peak_rss_bytes)) for label, p in bars.items()}
    requests = {label: (p.decode.requests, f"{p.decode.requests:.1f}") for label, p in bars.items()}
    return {
        "bytes": Markup(plots.amount_bars("ladder-bytes", _STEP, "read from flash per token, bytes", sizes)),
        "requests": Markup(plots.amount_bars("ladder-requests", _STEP, "reads per token, count", requests)),
        "breakdown": Markup(plots.breakdown_plot("ladder-time", _STEP, bars)),
        "parts": _PARTS,
        "memory": Markup(plots.amount_bars("ladder-memory", _STEP, "peak RSS, bytes", memory)),
        "table": table,
    }


def _labelled(found: Sequence[Point]) -> dict[str, Point]:
    """Points by a label of the budget and of what differs besides."""
    names = differing(found)
    labels = [", ".join([format_bytes(p.ram_bytes), *(f"{n} {p.facts.get(n, '–')}" for n in names)]) for p in found]
    return _distinct(labels, found)


def _distinct(labels: Sequence[str], found: Sequence[Point]) -> dict[str, Point]:
    """Labels that round two budgets to the same words get the bytes, so that no point is lost."""
    several = {label for label in labels if labels.count(label) > 1}
    return {
        f"{label} ({point.ram_bytes:,} B)" if label in several else label: point
        for label, point in zip(labels, found, strict=True)
    }


def _milliseconds(bars: dict[str, Point]) -> dict[str, tuple[float, str]]:
    return {label: (point.prefill_us, f"{milliseconds(point.prefill_us)} ms") for label, point in bars.items()}


def _cards(found: Sequence[Point]) -> list[dict[str, str]]:
    """The smallest and the largest budget in large type."""
    names = differing(found)
    chosen = [min(found, key=lambda p: p.ram_bytes), max(found, key=lambda p: p.ram_bytes)] if found else []
    return [
        {
            "budget": ", ".join([format_bytes(point.ram_bytes), *(point.facts.get(name, "–") for name in names)]),
            "share": f"{point.ram_bytes / point.runs[0].ready.budget.all_resident_bytes:.0%} of all resident",
            "latency": milliseconds(point.decode.latency_us.median),
            "low": milliseconds(point.decode.latency_us.low),
            "high": milliseconds(point.decode.latency_us.high),
            "rate": f"{point.decode.tokens_per_s:.1f}",
            "bytes": format_bytes(point.decode.bytes_read),
        }
        for point in {id(point): point for point in chosen}.values()
    ]


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
        "predicted": point.predicted.model_dump() if point.predicted else None,
        "prediction_error": error(point),
        "conditions_before": [run.conditions_before for run in point.runs],
        "budget_changes": [changes_json(run) for run in point.runs],
        "conditions_after": [run.conditions_after for run in point.runs],
        **preparation_json(point.runs),
    }
