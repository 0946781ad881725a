"""What is in a package: as data, and as tables. Shown by `inspect`, and by `export` when it is done."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from flashneuron.errors import PackageError
from flashneuron.package.ffn_file import Part
from flashneuron.package.manifest import Package
from flashneuron.predictor.settings import PredictorTable
from flashneuron.report.table import text_table
from flashneuron.units import format_bytes


def describe(package: Package) -> dict[str, Any]:
    manifest = package.manifest
    table = _predictor_table(package)
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
        "bytes": sum(sizes.values()),
        "bytes_by_role": sizes,
        "attention": [
            {"backend": programs.backend, "dtype": programs.dtype, "max_chunk": programs.max_chunk}
            for programs in manifest.attention
        ],
        "ffn": {"dtype": manifest.ffn.dtype, "variants": variants},
        "predictor": table.model_dump(mode="json") if table else None,
    }


def render(data: dict[str, Any]) -> str:
    model, ffn = data["model"], data["ffn"]
    shape = f"{model['layers']} layers × {model['hidden_size']}, FFN {model['ffn_size']}, {model['heads']} heads"
    facts = [
        ("name", data["name"] + (" (synthetic: random weights)" if data["synthetic"] else "")),
        ("model", f"{model['family']}, {model['activation']}, {shape}"),
        ("vocabulary, context", f"{model['vocab_size']}, {model['max_context']}"),
        *[("attention", f"{a['backend']} {a['dtype']}, chunks of up to {a['max_chunk']}") for a in data["attention"]],
        *[
            ("neurons", f"{v['layout']} {ffn['dtype']}, {v['record_bytes']} bytes a record, order {v['order']}")
            for v in ffn["variants"]
        ],
        ("made by", f"{data['created_by']}, format {data['format_version']}"),
    ]
    width = max(len(name) for name, _ in facts)
    sizes = [(role, format_bytes(size), f"{size / data['bytes']:.1%}") for role, size in data["bytes_by_role"].items()]
    sizes.append(("total", format_bytes(data["bytes"]), ""))
    parts = ["\n".join(f"{name:<{width}}  {value}" for name, value in facts), text_table(("role", "size", ""), sizes)]
    return "\n\n".join([*parts, render_predictors(data["predictor"])])


def render_predictors(table: dict[str, Any] | None) -> str:
    if table is None:
        return "no predictors: every neuron is computed for every token"
    names = ("true_density", "predicted_density", "recall", "precision")
    rows = [(str(row["layer"]), str(row["rank"]), *(f"{row[name]:.2%}" for name in names)) for row in table["layers"]]
    headings = ("layer", "rank", "fire", "predicted", "recall", "precision")
    shown = text_table(headings, rows)
    if table["dense"] is None or table["predicted"] is None:
        return shown
    dense, predicted = (table[name]["perplexity"] for name in ("dense", "predicted"))
    change = f"{predicted / dense - 1:+.2%}"
    return f"{shown}\n\nperplexity on held-out text: dense {dense:.3f}, predicted {predicted:.3f} ({change})"


def _predictor_table(package: Package) -> PredictorTable | None:
    """The table that export measured. Errors: PackageError."""
    for entry in package.with_role("statistics"):
        try:
            stored = json.loads(package.read(entry.path))["predictor"]
            return PredictorTable.model_validate(stored, extra="ignore") if stored is not None else None
        except (ValueError, KeyError, TypeError, ValidationError):
            raise PackageError(f"{package.path_of(entry.path)} is not a predictor table; export again") from None
    return None


def _main_part(layout: str) -> Part:
    return Part.BUNDLE if layout == "bundled" else Part.UP
