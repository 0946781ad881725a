"""Points as rows of words: one table of budgets, one of the ladder. Used on the terminal, in Markdown and in HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flashneuron.profile.ladder import DECIDED
from flashneuron.report.metrics import Point, Spread, differing
from flashneuron.report.prediction import error, prediction_line
from flashneuron.report.table import is_numeric
from flashneuron.units import format_bytes

_LONGEST_NUMBER = 24  # characters, with quartiles or an interval


@dataclass(frozen=True)
class Table:
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str

    @property
    def wordy(self) -> list[bool]:
        """By column, whether it holds words or long text, not numbers: only those may be broken into lines."""
        columns = [[row[column] for row in self.rows] for column in range(len(self.headings))]
        return [not is_numeric(cells) or max(map(len, cells), default=0) > _LONGEST_NUMBER for cells in columns]


def milliseconds(us: float) -> str:
    """Three significant digits."""
    ms = us / 1e3
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}"


def quartiles(spread: Spread) -> str:
    return f"{milliseconds(spread.median)} [{milliseconds(spread.low)}–{milliseconds(spread.high)}]"


def budget_rows(points: Sequence[Point]) -> Table:
    """One row a budget and setting."""
    names, line = differing(points), prediction_line(points)
    rows = []
    for point in points:
        cost, all_resident = point.decode, point.runs[0].ready.budget.all_resident_bytes
        rows.append(
            (
                format_bytes(point.ram_bytes),
                f"{point.ram_bytes / all_resident:.0%}",
                format_bytes(point.peak_rss_bytes),
                *_settings({name: point.facts.get(name, "–") for name in names}),
                f"{cost.tokens_per_s:.1f}",
                quartiles(cost.latency_us),
                format_bytes(cost.bytes_read),
                "–" if cost.amplification is None else f"{cost.amplification:.2f}",
                f"{cost.requests:.1f}",
                "–" if cost.hit_rate is None else f"{cost.hit_rate:.1%}",
                milliseconds(cost.parts_us["stall"]),
                *([_predicted(point)] if line else []),
                f"{len(point.runs)} × {len(point.runs[0].decoded)}",
            )
        )
    headings = (
        "RAM budget",
        "of all resident",
        "peak RSS",
        *_settings_heading(names),
        "tokens/s",
        "ms/token",
        "read/token",
        "÷ wanted",
        "reads/token",
    )
    note = (
        "ms/token: median [quartiles] of decoded tokens over all runs; the other columns are means, peak RSS a maximum."
        " ÷ wanted: bytes read over the records' bytes (reads are whole blocks, and cross gaps where that pays)."
    )
    headings += ("hits", "stall ms", *(["predicted ms"] if line else []), "runs × tokens")
    return Table(headings, rows, note)


def _predicted(point: Point) -> str:
    wrong = error(point)
    if point.predicted is None or wrong is None:
        return "–"
    return f"{milliseconds(point.predicted.wall_us)} ({wrong:+.0%})"


def ladder_rows(points: Sequence[Point]) -> Table:
    """The paper's steps, each with its ratio to the one before of the same climb."""
    rows = []
    variants = ladder_variants(points)
    names = list(dict.fromkeys(name for variant in variants.values() for name in variant))
    before: dict[tuple[str, ...], Point] = {}
    for point in points:
        cost, climb = point.decode, tuple(variants[id(point)].values())
        last = before.get(climb)
        rows.append(
            (
                point.ladder_step or "–",
                *_settings(variants[id(point)]),
                format_bytes(cost.bytes_read),
                _ratio(cost.bytes_read, last.decode.bytes_read if last else None),
                format_bytes(cost.bytes_wanted),
                f"{cost.requests:.1f}",
                _ratio(cost.requests, last.decode.requests if last else None),
                milliseconds(cost.io_us),
                milliseconds(cost.parts_us["memory"]),
                milliseconds(cost.compute_us),
                quartiles(cost.latency_us),
                _ratio(cost.latency_us.median, last.decode.latency_us.median if last else None),
                format_bytes(point.peak_rss_bytes),
                f"{len(point.runs)} × {len(point.runs[0].decoded)}",
            )
        )
        before[climb] = point
    costs = ("read/token", "×", "wanted", "reads/token", "×", "I/O ms", "memory ms", "compute ms", "total ms", "×")
    note = (
        "× is the ratio to the step before; wanted: bytes of the records alone, before reads are rounded to blocks. "
        "total: median [quartiles] of decoded tokens over all runs; other times are means, I/O is time with a read "
        "outstanding and overlaps compute. DRAM: peak RSS of the process."
    )
    return Table(("step", *_settings_heading(names), *costs, "DRAM", "runs × tokens"), rows, note)


def ladder_variants(points: Sequence[Point]) -> dict[int, dict[str, str]]:
    """By a point's id(): what tells its climb from others, by name. Empty where the ladder was climbed once."""
    names = [name for name in differing(points) if name not in DECIDED and not _follows_step(points, name)]
    several = len({point.runs[0].asked.get("ram") for point in points}) > 1
    found: dict[int, dict[str, str]] = {}
    for point in points:
        asked = point.runs[0].asked.get("ram")
        ram = {"RAM": format_bytes(asked) if asked else "all resident"} if several else {}
        found[id(point)] = ram | {name: point.facts.get(name, "–") for name in names}
    return found


def _settings_heading(names: Sequence[str]) -> list[str]:
    """One column for all that differs, so that a table is no wider where more does."""
    return ["settings"] if len(names) > 1 else list(names)


def _settings(values: Mapping[str, str]) -> list[str]:
    """The cell below `_settings_heading`."""
    return [", ".join(f"{name} {value}" for name, value in values.items())] if len(values) > 1 else [*values.values()]


def _follows_step(points: Sequence[Point], name: str) -> bool:
    """A fact that only changes from step to step, such as reads' tuning by layout, is no climb of its own."""
    by_step: dict[str | None, set[str]] = {}
    for point in points:
        by_step.setdefault(point.ladder_step, set()).add(point.facts.get(name, "–"))
    return all(len(values) == 1 for values in by_step.values())


def _ratio(now: float, before: float | None) -> str:
    return "" if not before else f"{now / before:.2f}"
