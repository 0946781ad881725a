"""One generation in words: a line, a table, an object."""

from __future__ import annotations

from typing import Any

from flashneuron.profile.run_file import Ready, Result
from flashneuron.profile.session import Generation, Scores
from flashneuron.report.metrics import PARTS, decode, events_text, hit_rate
from flashneuron.report.table import text_table
from flashneuron.units import format_bytes


def where(conditions: dict[str, Any], device: str) -> str:
    """The device in a few words; an emulated phone says so."""
    emulated = conditions.get("emulated")
    if isinstance(emulated, dict):
        return f"emulated phone {emulated.get('profile', device)}{events_text(emulated)}"
    if conditions.get("kind") == "host":
        return "this machine (not a phone)"
    return str(conditions.get("model") or device)


def generation_line(made: Generation, place: str) -> str:
    """Speed, bytes, hits, stall and memory of one generation on `place`, with what a reader must know beside them."""
    measured, memory = decode([token for token in made.tokens if token.selected > 0]), made.result.memory
    words = [
        f"{made.result.tokens} tokens on {place}",
        f"prompt {made.prefill.tokens} in {made.prefill.wall_us / 1e3:.0f} ms",
    ]
    if measured:
        wider = f" ({measured.amplification:.2f} × what was wanted)" if measured.amplification else ""
        words += [f"{measured.tokens_per_s:.1f} tokens/s", f"{format_bytes(measured.bytes_read)} read per token{wider}"]
        words += [] if measured.hit_rate is None else [f"hits {measured.hit_rate:.1%}"]
        words.append(f"stall {measured.parts_us['stall'] / 1e3:.2f} ms per token")
    words += _drafting(made.result)
    budget = format_bytes(memory.ram_bytes) if memory.ram_bytes else "no limit (all resident)"
    changes = "".join(f" → {format_bytes(each.ram_bytes)} at {each.index}" for each in made.budget_changes)
    words.append(f"peak RSS {format_bytes(memory.peak_rss_bytes)}, ram {budget}{changes}")
    return "\n".join([" · ".join(words), *remarks(made.ready)])


def _drafting(result: Result) -> list[str]:
    if not result.rounds:
        return []
    given = (result.rounds + (result.accepted or 0)) / result.rounds
    return [f"draft: {result.accepted} of {result.drafted} tokens accepted, {given:.1f} tokens a round"]


def generation_table(made: Generation, place: str) -> str:
    """The line, where a token's time goes, and each layer's cache."""
    measured = decode([token for token in made.tokens if token.selected > 0])
    blocks = [generation_line(made, place)]
    if measured:
        wall = sum(measured.parts_us.values())
        times = [
            (name, f"{measured.parts_us[name] / 1e3:.3f}", _share(measured.parts_us[name], wall)) for name in PARTS
        ]
        blocks.append(text_table(("per token", "ms", "share"), [*times, ("total", f"{wall / 1e3:.3f}", "100 %")]))
    rows = [
        (
            str(number),
            str(layer.cache_rows),
            f"{layer.window_union_mean:.0f}",
            f"{hit_rate([layer]):.1%}" if layer.selected else "–",
            format_bytes(layer.bytes_read / max(1, made.result.decode_steps)),
        )
        for number, layer in enumerate(made.result.layers)
    ]
    blocks.append(text_table(("layer", "cache rows", "window union", "hits", "read per token"), rows))
    return "\n\n".join(blocks)


def generation_json(made: Generation, text: str, conditions: dict[str, Any]) -> dict[str, Any]:
    stats = made.result.model_dump(exclude={"token_ids"})
    return {
        "token_ids": made.result.token_ids,
        "text": text,
        "stats": {"prefill": made.prefill.model_dump(), **stats, **_loading(made.ready)},
        "settings": made.ready.settings,
        "budget": made.ready.budget.model_dump(),
        "budget_changes": [each.model_dump() for each in made.budget_changes],
        "conditions": {**conditions, **_circumstances(made.ready)},
    }


def score_json(scores: Scores, perplexity: float, conditions: dict[str, Any]) -> dict[str, Any]:
    return {
        "perplexity": perplexity,
        "tokens": scores.tokens,
        "nll": scores.nll,
        "bytes_per_token": scores.result.totals.bytes_read / max(1, scores.result.decode_steps),
        "stats": scores.result.model_dump(exclude={"token_ids"}),
        "settings": scores.ready.settings,
        "conditions": {**conditions, **_circumstances(scores.ready)},
    }


def remarks(ready: Ready) -> list[str]:
    """What changes the meaning of the numbers."""
    found = [f"attention on {ready.settings.get('backend')}: {ready.backend_why}"] if ready.backend_why else []
    found += [f"warning: {text}" for text in ready.warnings]
    if not ready.direct_io:
        found.append(f"warning: reads went through the page cache ({ready.direct_io_why or 'no direct I/O here'})")
    return found


def _loading(ready: Ready) -> dict[str, int | None]:
    return {name: getattr(ready, name) for name in ("load_us", "attention_load_us", "attention_loaded_bytes")}


def _circumstances(ready: Ready) -> dict[str, Any]:
    return {"direct_io": ready.direct_io, "backend_why": ready.backend_why, "warnings": ready.warnings}


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "–"
