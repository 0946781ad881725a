"""RAM budgets worth measuring, from what the runner says a package needs."""

from __future__ import annotations

from flashneuron.profile.run_file import Budget

MARGIN = 0.02  # of the range above the minimum: the smallest budget holds a few neurons, not none


def spread_budgets(budget: Budget, count: int = 4) -> list[int]:
    """`count` budgets in bytes, evenly spaced from just above the minimum to all resident, ascending and distinct."""
    low, high = budget.minimum_bytes, budget.all_resident_bytes
    first = low + (high - low) * MARGIN
    steps = [first + (high - first) * step / max(1, count - 1) for step in range(count)]
    unit = 1 << 20 if high - low >= 64 << 20 else 1 << 16
    rounded = [min(max(-(-round(size) // unit) * unit, low), max(high, low)) for size in steps]
    return sorted(set(rounded))
