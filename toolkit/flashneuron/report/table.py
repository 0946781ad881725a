"""Plain-text and Markdown tables. Numbers are to the right, words to the left."""

from __future__ import annotations

from collections.abc import Sequence

from flashneuron.profile.run_file import Budget
from flashneuron.units import format_bytes

Row = Sequence[str]


def text_table(headings: Row, rows: Sequence[Row]) -> str:
    widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]
    numeric = [is_numeric([row[i] for row in rows]) for i in range(len(headings))]

    def line(row: Row) -> str:
        cells = [cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(row, widths, numeric, strict=True)]
        return "  ".join(cells).rstrip()

    return "\n".join([line(headings), "  ".join("─" * width for width in widths), *map(line, rows)])


def markdown_table(headings: Row, rows: Sequence[Row]) -> str:
    numeric = [is_numeric([row[i] for row in rows]) for i in range(len(headings))]
    lines = [headings, ["---:" if right else "---" for right in numeric], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def budget_table(budget: Budget) -> str:
    """What needs how much DRAM."""
    rows = [(role.role, format_bytes(role.bytes)) for role in budget.roles]
    rows += [("minimum", format_bytes(budget.minimum_bytes)), ("all resident", format_bytes(budget.all_resident_bytes))]
    if budget.ram_bytes is not None:
        rows.append(("asked", format_bytes(budget.ram_bytes)))
    return text_table(("role", "needs"), rows)


def is_numeric(cells: Sequence[str]) -> bool:
    """Most cells start like a number (a table's column may hold – or words here and there)."""
    return 2 * sum(cell.lstrip("±×~−-+")[:1].isdigit() for cell in cells) >= max(1, len(cells))
