"""A profile of operators as a page that opens offline, Markdown or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from flashneuron.profile.etdump import read_dumps
from flashneuron.profile.run_file import Run
from flashneuron.report import plots
from flashneuron.report.etdump import read_rows
from flashneuron.report.marks import marked_line, marks
from flashneuron.report.operators import Row, merge
from flashneuron.report.origin import origins, remarks
from flashneuron.report.page import render_page
from flashneuron.report.point_tables import Table
from flashneuron.report.table import markdown_table

HEADINGS = ("operator", "module", "on", "calls", "µs a call", "ms in all", "share")
_NOTES = {
    "prefill": "Attention over the whole prompt. Its head runs with the first token.",
    "decode": "Attention and head of all tokens that were generated.",
}
_FUSED = (
    "An NPU's compiler fuses operators; a group's cycles are then with one of them. Cycles split the time it was busy."
)
_SHOWN = 12  # bars of a plot


@dataclass(frozen=True)
class Phase:
    name: str
    rows: list[Row]  # the longest first

    @property
    def total_us(self) -> float:
        return sum(row.total_us for row in self.rows)


def render_operators(folder: Path, records: Path | None, style: str) -> str:
    """`folder`: of run --etdump; `records`: PKG.etrecord; `style`: html, md or json. Errors: InputError."""
    run, dumps = read_dumps(folder)
    delegate = "NPU" if run.ready.on_npu else "XNNPACK"
    names = dict.fromkeys(dump.phase for dump in dumps)
    phases = [
        Phase(name, merge(read_rows(folder, [d for d in dumps if d.phase == name], records, delegate)))
        for name in names
    ]
    told: list[str] = []
    if records is None:
        told.append("without --etrecord PKG.etrecord operators have the names that the backend knows, and no modules")
    render: dict[str, Callable[[Run, list[Phase], list[str]], str]] = {"html": _html, "md": _markdown, "json": _json}
    return render[style](run, phases, told)


def _table(phase: Phase, on_npu: bool) -> Table:
    rows = [
        (
            row.operator,
            row.module or "–",
            row.place,
            str(row.calls),
            f"{row.total_us / row.calls:.1f}",
            f"{row.total_us / 1e3:.2f}",
            f"{row.total_us / phase.total_us:.1%}" if phase.total_us else "–",
        )
        for row in phase.rows
    ]
    note = _NOTES.get(phase.name, "")
    return Table(HEADINGS, rows, f"{note} {_FUSED}" if on_npu else note)


def _markdown(run: Run, phases: list[Phase], told: list[str]) -> str:
    blocks = [*marked_line([run]), *origins([run]), *remarks([run]), *told]
    for phase in phases:
        made = _table(phase, run.ready.on_npu)
        title = f"## {phase.name}, {phase.total_us / 1e3:.1f} ms"
        blocks.append("\n".join([title, "", markdown_table(made.headings, made.rows), "", made.note]))
    return "\n\n".join(blocks)


def _json(run: Run, phases: list[Phase], told: list[str]) -> str:
    data: dict[str, Any] = {
        "package": run.package.model_dump(),
        "settings": run.ready.settings,
        "marks": marks([run]),
        "origins": origins([run]),
        "remarks": [*remarks([run]), *told],
        "phases": [
            {"phase": phase.name, "total_us": phase.total_us, "rows": [asdict(row) for row in phase.rows]}
            for phase in phases
        ],
    }
    return json.dumps(data, ensure_ascii=False)


def _html(run: Run, phases: list[Phase], told: list[str]) -> str:
    return render_page(
        "operators.html.j2",
        [run],
        told,
        kind="report · operators",
        title=run.package.name,
        backend=run.ready.settings.get("backend"),
        tokens=run.result.tokens,
        prompt=run.prefill.tokens,
        phases=[
            {
                "name": phase.name,
                "total": f"{phase.total_us / 1e3:.1f} ms",
                "plot": Markup(
                    plots.amount_bars(f"operators-{phase.name}", "operator", "time over all calls, ms", _bars(phase))
                ),
                "table": _table(phase, run.ready.on_npu),
            }
            for phase in phases
        ],
    )


def _bars(phase: Phase) -> dict[str, tuple[float, str]]:
    named = {f"{row.operator} {row.module}".strip() + f" · {row.place}": row.total_us / 1e3 for row in phase.rows}
    return {name: (ms, f"{ms:.2f} ms") for name, ms in list(named.items())[:_SHOWN]}
