"""What is in a package: as data, and as tables. Shown by `inspect`, and by `export` when it is done."""

from __future__ import annotations

import json
from statistics import fmean
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from flashneuron.cli.lowering_summary import LoweringTable, render_lowering
from flashneuron.errors import PackageError
from flashneuron.package.ffn_file import Part
from flashneuron.package.manifest import Package
from flashneuron.package.neuron_lists import read_frequency
from flashneuron.predictor.settings import PredictorTable
from flashneuron.report.table import text_table
from flashneuron.units import format_bytes

_T = TypeVar("_T", bound=BaseModel)


def describe(package: Package) -> dict[str, Any]:
    manifest = package.manifest
    table, order = _predictor_table(package), _order_table(package)
    lowering = _statistics(package, "attention", LoweringTable, "a table of operators", optional=True)
    precision = _statistics(package, "precision", Precision, "perplexities", optional=True)
    sizes = package.role_bytes()
    variants = [
        {
            "layout": variant.layout,
            "order": variant.order,
            "neurons_per_shard": variant.neurons_per_shard,
            "record_bytes": manifest.geometry(variant, _main_part(variant.layout)).record_bytes,
            "stride": manifest.geometry(variant, _main_part(variant.layout)).stride,
        }
        for variant in manifest.ffn.variants
    ]
    return {
        "package": str(package.folder),
        "name": manifest.name,
        "created_by": manifest.created_by,
        "synthetic": manifest.synthetic,
        "format_version": manifest.format_version,
        "model": manifest.model.model_dump(mode="json"),
        "chat": manifest.chat is not None,
        "bytes": sum(sizes.values()),
        "bytes_by_role": sizes,
        "attention": [
            programs.model_dump(mode="json", exclude_none=True, exclude={"layers", "head"})
            for programs in manifest.attention
        ],
        "ffn": {
            "dtype": manifest.ffn.dtype,
            "variants": variants,
            "frequency": _frequency(package),
            "order": order.model_dump(mode="json") if order else None,
        },
        "precision": precision.model_dump() if precision else None,
        "lowering": lowering.model_dump(mode="json", exclude_none=True) if lowering else {},
        "predictor": table.model_dump(mode="json") if table else None,
    }


def render(data: dict[str, Any]) -> str:
    model, ffn = data["model"], data["ffn"]
    shape = f"{model['layers']} layers × {model['hidden_size']}, FFN {model['ffn_size']}, {model['heads']} heads"
    facts = [
        ("name", data["name"] + (" (synthetic: random weights)" if data["synthetic"] else "")),
        ("model", f"{model['family']}, {_activation_text(model)}, {shape}"),
        ("vocabulary, context", f"{model['vocab_size']}, {model['max_context']}"),
        *[("chat template", "there is one: run --chat") for _ in [None] if data["chat"]],
        *[("attention", _attention_text(found)) for found in data["attention"]],
        *[
            ("neurons", f"{v['layout']} {ffn['dtype']}, {v['record_bytes']} bytes a record, order {v['order']}")
            for v in ffn["variants"]
        ],
        *[("frequencies", _frequency_text(found)) for found in [ffn["frequency"]] if found],
        *[("runs on flash", _order_text(found["layers"])) for found in [ffn["order"]] if found],
        *[("perplexity", _precision_text(found)) for found in [data["precision"]] if found],
        ("made by", f"{data['created_by']}, format {data['format_version']}"),
    ]
    width = max(len(name) for name, _ in facts)
    sizes = [(role, format_bytes(size), f"{size / data['bytes']:.1%}") for role, size in data["bytes_by_role"].items()]
    sizes.append(("total", format_bytes(data["bytes"]), ""))
    parts = ["\n".join(f"{name:<{width}}  {value}" for name, value in facts), text_table(("role", "size", ""), sizes)]
    return "\n\n".join([*parts, *render_lowering(data["lowering"]), render_predictors(data["predictor"])])


def _activation_text(model: dict[str, Any]) -> str:
    """With where its thresholds are, if it has any, and how high."""
    text = f"{'gated ' if model['gated'] else ''}{model['activation']}"
    if model["thresholds"] is None:
        return text
    lowest, highest = (pick(model["thresholds"]["layers"]) for pick in (min, max))
    return f"{text} over {lowest:.4g} … {highest:.4g} on {model['thresholds']['on']}"


def _attention_text(facts: dict[str, Any]) -> str:
    text = f"{facts['backend']} {facts['dtype']}, chunks of up to {facts['max_chunk']}"
    if facts.get("contexts"):
        sharing = "shared" if facts["weight_sharing"] else "apart"
        text += f", contexts {', '.join(map(str, facts['contexts']))}, weights {sharing}, QNN SDK {facts['sdk']}"
    return text


def render_predictors(table: dict[str, Any] | None) -> str:
    if table is None:
        return "no predictors: every neuron is computed for every token"
    names = ("true_density", "predicted_density", "recall", "precision")
    rows = [(str(row["layer"]), str(row["rank"]), *(f"{row[name]:.2%}" for name in names)) for row in table["layers"]]
    headings = ("layer", "rank", "fire", "predicted", "recall", "precision")
    shown = text_table(headings, rows)
    if table["given"] is not None:
        thresholds = "fitted to calibration text" if table["thresholds_fitted"] else "as they were"
        shown = f"predictors from {table['given']}, thresholds {thresholds}, input {table['input']}\n\n{shown}"
    if table["dense"] is None or table["predicted"] is None:
        return shown
    dense, predicted = (table[name]["perplexity"] for name in ("dense", "predicted"))
    change = f"{predicted / dense - 1:+.2%}"
    return f"{shown}\n\nperplexity on held-out text: dense {dense:.3f}, predicted {predicted:.3f} ({change})"


class Precision(BaseModel):
    """Perplexities of all neurons (FORMAT.md, statistics.json)."""

    ffn: str
    attention: str
    tokens: int
    fp32: float
    stored: float


class OrderRow(BaseModel):
    run_length_before: float
    run_length_after: float


class OrderTable(BaseModel):
    """Mean runs of neighbours among the neurons that a token newly needs (FORMAT.md, statistics.json)."""

    layers: list[OrderRow]


def _frequency(package: Package) -> dict[str, float] | None:
    """Over all layers: the mean, and the share of neurons that half of all selections go to."""
    names = package.manifest.ffn.frequency
    if names is None:
        return None
    falling = np.sort(np.concatenate([read_frequency(package.path_of(name)) for name in names]).astype(np.float64))[
        ::-1
    ]
    half = np.searchsorted(np.cumsum(falling), falling.sum() / 2) + 1
    return {"mean": float(falling.mean()), "neurons_of_half": float(half / len(falling))}


def _frequency_text(frequency: dict[str, float]) -> str:
    mean, half = frequency["mean"], frequency["neurons_of_half"]
    return f"a token selects {mean:.1%}; half of all selections are of {half:.1%} of the neurons"


def _precision_text(found: dict[str, Any]) -> str:
    stored, fp32 = found["stored"], found["fp32"]
    kept = f"FFN in {found['ffn']}, attention in {found['attention']}"
    return f"{stored:.3f} as stored ({kept}), {fp32:.3f} in fp32 ({stored / fp32 - 1:+.2%}); {found['tokens']} tokens"


def _order_text(rows: list[dict[str, float]]) -> str:
    before, after = (fmean(row[f"run_length_{when}"] for row in rows) for when in ("before", "after"))
    return f"{before:.2f} neurons by index, {after:.2f} by co-activation, of those that a token newly needs"


def _predictor_table(package: Package) -> PredictorTable | None:
    """The table that export measured. Errors: PackageError."""
    return _statistics(package, "predictor", PredictorTable, "a predictor table")


def _order_table(package: Package) -> OrderTable | None:
    return _statistics(package, "order", OrderTable, "run lengths", optional=True)


def _statistics(package: Package, key: str, kind: type[_T], what: str, optional: bool = False) -> _T | None:
    """What statistics.json holds under `key`; `optional`: the key may be absent. Errors: PackageError."""
    for entry in package.with_role("statistics"):
        try:
            document = json.loads(package.read(entry.path))
            stored = document.get(key) if optional else document[key]
            return kind.model_validate(stored, extra="ignore") if stored is not None else None
        except (ValueError, KeyError, TypeError, AttributeError, ValidationError):
            raise PackageError(f"{package.path_of(entry.path)} is not {what}; export again") from None
    return None


def _main_part(layout: str) -> Part:
    return Part.BUNDLE if layout == "bundled" else Part.UP
