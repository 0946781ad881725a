"""What a reader must see first: that numbers are not those of a real phone running a real model."""

from __future__ import annotations

from collections.abc import Sequence

from flashneuron.profile.run_file import Run


def marks(runs: Sequence[Run]) -> list[str]:
    """In a few words each; what they mean is in origins and remarks. Empty: real weights on a real phone."""
    found: list[str] = []
    for run in runs:
        if run.emulated:
            found.append("emulated phone")
        elif run.conditions_before.get("kind") == "host":
            found.append("not a phone")
        if run.ready.on_npu and run.emulated:
            found.append("emulated NPU")
        if run.package.synthetic:
            found.append("synthetic weights")
        if run.ready.settings.get("predictor") == "oracle":
            found.append("oracle predictor")
    return list(dict.fromkeys(found))


def marked_line(runs: Sequence[Run], form: str = "**{}**") -> list[str]:
    """The marks as one line of Markdown, or of what `form` says; no line without marks."""
    found = marks(runs)
    return [form.format(" · ".join(found).upper())] if found else []
