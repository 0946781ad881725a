"""A comparison as a page that opens offline, Markdown or JSON. Unequal conditions are marked in each."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict
from typing import Any

from markupsafe import Markup, escape

from flashneuron.profile.run_file import Run
from flashneuron.report.compare import Comparison, Pair, Side
from flashneuron.report.compare_plot import ratio_plot
from flashneuron.report.marks import marked_line, marks
from flashneuron.report.origin import conditions_rows, fact_rows, origins, remarks
from flashneuron.report.page import render_page, when
from flashneuron.report.point_tables import Table, milliseconds
from flashneuron.report.ratios import CONFIDENCE, LATENCY, LEAST_RUNS, NOISE, QUANTITIES, RESAMPLES, Ratio
from flashneuron.report.table import markdown_table

_UNEQUAL = "unequal conditions"
_INTERVAL = re.compile(r"\[[^]]*\]")
_CAPTIONS = {
    "latency_us": "Median time of a decoded token.",
    "tokens_per_s": "Decoded tokens over their time.",
    "bytes_read": "Bytes read from flash per decoded token.",
    "stall_us": "Time per token that compute waited for reads.",
    "memory_us": "Time per token of managing cache and staging.",
    "peak_rss_bytes": "Peak RSS of the process.",
}
_NOTE = (
    f"Each cell: B ÷ A, the ratio of medians over whole runs [{CONFIDENCE:.0%} interval: percentile bootstrap, "
    f"{RESAMPLES} resamples of whole runs]. A verdict needs {LEAST_RUNS} runs of each side and an interval without 1. "
    "With 3 runs of each, equal things are called different about once in ten times, from 5 on about once in thirty. "
    "The interval knows the noise between repeats, not a drift between two sittings."
)


def render_comparison(comparison: Comparison, style: str) -> str:
    """`style`: html, md or json."""
    return {"html": _html, "md": _markdown, "json": _json}[style](comparison)


def table_of(comparison: Comparison) -> Table:
    rows = [
        (
            pair.label,
            pair.verdict,
            milliseconds(pair.ratios[LATENCY.name].a),
            milliseconds(pair.ratios[LATENCY.name].b),
            *(_cell(pair.ratios[quantity.name]) for quantity in QUANTITIES),
            f"{len(pair.a.runs)} / {len(pair.b.runs)}",
        )
        for pair in comparison.pairs
    ]
    headings = ("point", "B is", "A ms/token", "B ms/token", *(quantity.title for quantity in QUANTITIES), "runs A / B")
    return Table(headings, rows, _NOTE)


def summary(comparison: Comparison) -> str:
    """ "B is faster at 2 of 3 points, within noise at 1" by latency, the most frequent first."""
    counts = Counter(pair.verdict for pair in comparison.pairs)
    first, *rest = counts.most_common()
    more = "".join(f", {verdict} at {count}" for verdict, count in rest)
    total = len(comparison.pairs)
    return f"B is {first[0]} at {first[1]} of {total} point{'s' if total > 1 else ''}{more}"


def _told(comparison: Comparison) -> list[str]:
    """What changes the meaning of the whole comparison."""
    found = []
    if comparison.differences:
        names = ", ".join(difference.name for difference in comparison.differences)
        found.append(f"A and B were measured under unequal conditions: {names}")
    few = sum(pair.too_few_runs for pair in comparison.pairs)
    if few:
        found.append(
            f"{few} of {len(comparison.pairs)} points have fewer than {LEAST_RUNS} runs on a side: too few to tell a "
            f"change from noise; measure with --repeat 5"
        )
    return found


def _unbroken(made: Table) -> Table:
    """Cells that break between words, never within an interval."""
    rows = [tuple(Markup(_INTERVAL.sub(r"<span>\g<0></span>", str(escape(cell)))) for cell in row) for row in made.rows]
    return Table(made.headings, rows, made.note)


def _missing(comparison: Comparison) -> list[str]:
    sides = (("A", comparison.only_a), ("B", comparison.only_b))
    return [f"Only in {name}: {'; '.join(labels)}." for name, labels in sides if labels]


def _html(comparison: Comparison) -> str:
    runs = _runs(comparison)
    return render_page(
        "compare.html.j2",
        runs,
        _told(comparison),
        [_UNEQUAL] if comparison.differences else [],
        kind="comparison",
        title=" · ".join(dict.fromkeys(run.package.name for run in runs)),
        a=_side(comparison.a),
        b=_side(comparison.b),
        differences=comparison.differences,
        summary=summary(comparison),
        made=_unbroken(table_of(comparison)),
        missing=_missing(comparison),
        confidence=f"{CONFIDENCE:.0%}",
        plots=[
            {
                "title": quantity.title[:1].upper() + quantity.title[1:],
                "caption": _CAPTIONS[quantity.name],
                "svg": Markup(ratio_plot(quantity, comparison.pairs)),
            }
            for quantity in QUANTITIES
        ],
        facts=fact_rows([point for pair in comparison.pairs for point in (pair.a, pair.b)]),
        conditions=conditions_rows(runs),
    )


def _markdown(comparison: Comparison) -> str:
    runs, made = _runs(comparison), table_of(comparison)
    blocks = [
        *(["**UNEQUAL CONDITIONS**"] if comparison.differences else []),
        *marked_line(runs),
        *(f"{name.upper()}: {side.name}, {_side(side)['when']}" for name, side in _sides(comparison)),
        *origins(runs),
        *_told(comparison),
        *remarks(runs),
    ]
    if comparison.differences:
        rows = [(difference.name, difference.a, difference.b) for difference in comparison.differences]
        blocks.append(f"## Unequal conditions\n\n{markdown_table(('what', 'A', 'B'), rows)}")
    blocks.append(f"## {summary(comparison)}\n\n{markdown_table(made.headings, made.rows)}\n\n{made.note}")
    return "\n\n".join([*blocks, *_missing(comparison)]) + "\n"


def _json(comparison: Comparison) -> str:
    runs = _runs(comparison)
    data = {
        "marks": [*([_UNEQUAL] if comparison.differences else []), *marks(runs)],
        "a": comparison.a.name,
        "b": comparison.b.name,
        "unequal": [asdict(difference) for difference in comparison.differences],
        "confidence": CONFIDENCE,
        "points": [_pair_json(pair) for pair in comparison.pairs],
        "only_a": comparison.only_a,
        "only_b": comparison.only_b,
        "origins": origins(runs),
        "remarks": [*_told(comparison), *remarks(runs)],
        "conditions": {name: [run.conditions_before for run in side.runs] for name, side in _sides(comparison)},
    }
    return json.dumps(data, ensure_ascii=False)


def _pair_json(pair: Pair) -> dict[str, Any]:
    return {
        "label": pair.label,
        "ladder_step": pair.a.ladder_step,
        "ram_bytes": {"a": pair.a.ram_bytes, "b": pair.b.ram_bytes},
        "runs": {"a": len(pair.a.runs), "b": len(pair.b.runs)},
        "verdict": pair.verdict,
        "too_few_runs": pair.too_few_runs,
        **{name: asdict(ratio) for name, ratio in pair.ratios.items()},
    }


def _runs(comparison: Comparison) -> list[Run]:
    """Of the points that both sides have: those of others would mark what is not compared."""
    return [run for pair in comparison.pairs for point in (pair.a, pair.b) for run in point.runs]


def _sides(comparison: Comparison) -> list[tuple[str, Side]]:
    return [("a", comparison.a), ("b", comparison.b)]


def _side(side: Side) -> dict[str, Any]:
    started = sorted(run.started for run in side.runs)
    ends = list(dict.fromkeys(map(when, (started[0], started[-1]))))
    return {"name": side.name, "runs": len(side.runs), "when": " – ".join(ends)}


def _cell(found: Ratio) -> str:
    if found.ratio is None:
        return "–"
    interval = "" if found.low is None or found.high is None else f" [{found.low:.2f}–{found.high:.2f}]"
    return f"{found.ratio:.2f}{interval}{'' if found.verdict == NOISE else f' {found.verdict}'}"
