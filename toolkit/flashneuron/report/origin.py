"""Where numbers are from: the device, its conditions, and what a reader must know before believing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flashneuron.profile.run_file import Run
from flashneuron.report.metrics import Point, limits_text
from flashneuron.units import format_bytes

Row = tuple[str, str, bool]  # name, value, whether it differs between runs


def origins(runs: Sequence[Run]) -> list[str]:
    """A line for each device that was measured; an emulated phone says which limits held and which did not."""
    return list(dict.fromkeys(_origin(run) for run in runs))


def remarks(runs: Sequence[Run]) -> list[str]:
    """What changes the meaning of the numbers, each once."""
    found: list[str] = []
    packages = list(dict.fromkeys(f"{run.package.name} ({run.package.sha256[:8]})" for run in runs))
    if len(packages) > 1:
        found.append(
            f"these are runs of {len(packages)} packages, which do not compute the same: {', '.join(packages)}"
        )
    for run in runs:
        found += run.ready.warnings
        if not run.ready.direct_io:
            found.append(f"reads went through the page cache: {run.ready.direct_io_why or 'no direct I/O here'}")
        if run.ready.on_npu and run.emulated:
            found.append("attention ran on an emulated NPU: its numbers are real, its times mean nothing")
        if run.package.synthetic:
            found.append(
                f"package {run.package.name} has synthetic weights: its speed means something, its text does not"
            )
        if run.result.memory.vm_swap_bytes:
            found.append("part of the process was swapped out in some runs: its cost hides in compute times")
        if run.ready.settings.get("predictor") == "oracle":
            found.append(
                "predictor=oracle decides with a full copy of the weights outside the budget: a bound, not a method"
            )
    if exceeded := dict.fromkeys(format_bytes(run.ram_bytes) for run in runs if _exceeds_budget(run)):
        found.append(f"peak RSS exceeded the budget of {', '.join(exceeded)} in some runs")
    return list(dict.fromkeys(found))


def fact_rows(found: Sequence[Point]) -> list[Row]:
    """What the points depend on, besides the budget."""
    names = dict.fromkeys(name for point in found for name in point.facts)
    rows = []
    for name in names:
        values = list(dict.fromkeys(point.facts.get(name, "–") for point in found))
        rows.append((name, " / ".join(values), len(values) > 1))
    return rows


def conditions_rows(runs: Sequence[Run]) -> list[Row]:
    """Every condition over all runs, before and after: one value, a range, or a list."""
    seen: dict[str, list[Any]] = {}
    for run in runs:
        for conditions in (run.conditions_before, run.conditions_after):
            for name, value in flatten(conditions):
                seen.setdefault(name, []).append(value)
    return [
        (condition_title(name), _values(name, values), len(set(map(str, values))) > 1) for name, values in seen.items()
    ]


def _exceeds_budget(run: Run) -> bool:
    """The oracle's copy of the weights is outside the budget by its nature."""
    budget = run.ready.budget.ram_bytes
    oracle = run.ready.settings.get("predictor") == "oracle"
    return budget is not None and run.result.memory.peak_rss_bytes > budget and not oracle


def _origin(run: Run) -> str:
    known = run.conditions_before
    machine = ", ".join(str(known[name]) for name in ("cpu", "system") if known.get(name))
    cores = f"{known['cores']} cores" if known.get("cores") else ""
    if run.emulated:
        title = run.emulated.get("title") or run.emulated.get("profile") or run.device
        told = run.emulated.get("not_imitated")
        missing = ", ".join(map(str, told)) if isinstance(told, list) else ""
        sentences = [f"Emulated phone: {title}, on {machine or 'this machine'}", _capital(limits_text(run.emulated))]
        return ". ".join([*sentences, f"Not imitated: {missing}"] if missing else sentences) + "."
    if known.get("kind") == "host":
        about = ", ".join(filter(None, (machine, cores)))
        return (
            f"This machine, not a phone: {about or run.device}. No limit on RAM or flash but the runner's own budget."
        )
    words = [known.get("model") or run.device, known.get("soc"), known.get("android") and f"Android {known['android']}"]
    return ", ".join(str(word) for word in words if word) + "."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Conditions as (name, value), without what is unknown and without lists; nested names are `thermal.status`."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += flatten(value, f"{prefix}{name}.")
        elif value is not None and not isinstance(value, list):
            found.append((prefix + name, value))
    return found


def condition_title(name: str) -> str:
    return name.removesuffix("_bytes").replace("_", " ").replace(".", " ")


def condition_value(name: str, value: Any) -> str:
    """What a device told may be anything."""
    is_size = name.endswith("_bytes") and isinstance(value, int) and 0 <= value < 1 << 63
    return format_bytes(value) if is_size else str(value)


def _values(name: str, values: Sequence[Any]) -> str:
    if len(set(map(str, values))) > 1 and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return f"{condition_value(name, min(values))} – {condition_value(name, max(values))}"
    return " / ".join(dict.fromkeys(condition_value(name, value) for value in values))
