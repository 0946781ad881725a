"""A plan in words and as an object."""

from __future__ import annotations

from typing import Any

from flashneuron.profile.cost_model import as_json
from flashneuron.profile.plan import Plan, Prediction, Target
from flashneuron.report.summary import where
from flashneuron.report.table import budget_table, text_table
from flashneuron.units import format_bytes

_HEADINGS = (
    "RAM budget", "settings", "ms/token", "tokens/s", "read/token", "reads/token", "hits", "stall ms", "compute ms", ""
)  # fmt: skip
_NOT_SHOWN = {"ram", "context"}


def plan_text(plan: Plan, target: Target, simulated: str | None) -> str:
    """`simulated`: what is not here."""
    rows = [
        (
            _ram(each),
            ", ".join(f"{name} {value}" for name, value in each.asked.asked().items() if name not in _NOT_SHOWN) or "–",
            f"{each.cost.wall_us / 1e3:.2f}",
            f"{each.cost.tokens_per_s:.1f}",
            format_bytes(each.replayed.mean("bytes_read")),
            f"{each.replayed.mean('requests'):.1f}",
            f"{each.replayed.hit_rate:.1%}",
            f"{each.cost.stall_us / 1e3:.2f}",
            f"{each.cost.compute_us / 1e3:.2f}",
            "← recommended" if each is plan.recommended else "",
        )
        for each in plan.predictions
    ]
    blocks = [f"predicted for {_place(target)}{f'; simulated: {simulated}' if simulated else ''}"]
    blocks.append(text_table(_HEADINGS, rows))
    for refusal in plan.refusals:
        blocks.append(f"does not fit: {refusal.why}")
    if plan.refusals and plan.refusals[-1].budget:
        blocks.append(budget_table(plan.refusals[-1].budget))
    basis = plan.recommended.basis
    tokens = plan.recommended.replayed.tokens
    blocks.append(
        f"reads: {tokens} tokens of the activation trace, after others that fill the caches; computing: by {basis}"
    )
    return "\n\n".join(blocks)


def plan_json(plan: Plan, target: Target, simulated: str | None) -> dict[str, Any]:
    return {
        "device": target.name,
        "simulated": simulated,
        "emulated": target.curve.conditions.get("emulated"),
        "curve_measured": target.curve.measured,
        "predictions": [_prediction(each) for each in plan.predictions],
        "refused": [{"asked": each.asked.asked(), "why": each.why} for each in plan.refusals],
        "recommended": _prediction(plan.recommended),
    }


def _prediction(each: Prediction) -> dict[str, Any]:
    names = ("requests", "bytes_read", "early_requests", "early_bytes_read")
    return {
        "asked": each.asked.asked(),
        "settings": dict(each.settings),
        "budget": each.budget.model_dump() if each.budget else None,
        "hit_rate": each.replayed.hit_rate,
        **{name: each.replayed.mean(name) for name in names},
        **as_json(each.cost),
        "basis": each.basis,
    }


def _ram(each: Prediction) -> str:
    budget = each.budget
    if budget is None:
        return format_bytes(each.asked.ram or 0)
    return format_bytes(budget.ram_bytes) if budget.ram_bytes else f"{format_bytes(budget.all_resident_bytes)} (all)"


def _place(target: Target) -> str:
    return where(target.curve.conditions, target.name)
