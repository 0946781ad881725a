"""Pages out of templates: one HTML file that refers to nothing outside itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from flashneuron.profile.run_file import Run
from flashneuron.report.marks import marks
from flashneuron.report.origin import origins, remarks


def render_page(
    template: str,
    runs: Sequence[Run],
    more_remarks: Sequence[str] = (),
    more_marks: Sequence[str] = (),
    **values: Any,
) -> str:
    """With what every page begins with: marks, origins and remarks of `runs`, after those of the page's own."""
    environment = Environment(
        loader=PackageLoader("flashneuron.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(template).render(
        marks=[*more_marks, *marks(runs)], origins=origins(runs), remarks=[*more_remarks, *remarks(runs)], **values
    )


def when(iso: str) -> str:
    return datetime.fromisoformat(iso).astimezone(UTC).strftime("%-d %B %Y, %H:%M UTC")
