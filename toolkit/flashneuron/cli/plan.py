"""`flashneuron plan`: latency by RAM budget, predicted before anything is pushed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from flashneuron.cli.options import budget_explained, device_option, format_option, list_options, split_lists
from flashneuron.cli.plan_points import of_package, of_trace
from flashneuron.errors import InputError
from flashneuron.profile.plan import make_plan
from flashneuron.profile.target import target_here, target_of_file
from flashneuron.report.plan_table import plan_json, plan_text


@click.command("plan")
@click.argument("package", metavar="[PKG]", required=False, type=click.Path(path_type=Path))
@list_options
@click.option("--curve", metavar="FILE", type=click.Path(path_type=Path), help="Instead of a device: what probe kept.")
@click.option("--tokens", type=click.IntRange(2), help="That the KV cache holds; default: 384, or the model's most.")
@click.option("--replay", metavar="TRACE", type=click.Path(path_type=Path), help="Instead of PKG: a trace.bin alone.")
@click.option("--hidden-size", type=click.IntRange(1, (1 << 24) - 1), help="With --replay: of that model.")
@click.option(
    "--dtype",
    type=click.Choice(("fp32", "fp16", "bf16", "int8", "int4")),
    default="fp16",
    show_default=True,
    help="With --replay: of its weights.",
)
@click.option("--gated", is_flag=True, help="With --replay: its neurons have gates.")
@device_option
@format_option("table", "json")
def command(
    package: Path | None, curve: Path | None, tokens: int | None, replay: Path | None, hidden_size: int | None,
    dtype: Any, gated: bool, device: str | None, style: str, **texts: Any,
) -> None:  # fmt: skip
    """Predict what PKG will cost on a probed device, for every combination of the listed options; recommend one.

    Nothing is pushed: the package's activation trace is replayed here through the runtime's own cache code, and the
    device's flash curve says how long the reads take. Without --ram at 4 budgets, without --window for auto and 4.
    With --replay the model need not be here, with --curve the device need not; what is simulated is labelled so.

    \b
    Examples:
      flashneuron plan sample.fnpkg --ram 24M,28M,32M
      flashneuron plan opt.fnpkg --ram 3G --window 2,4,8,auto --overlap on,off --format json
      flashneuron plan opt.fnpkg --curve another-phone.json
      flashneuron synth --shape opt-66b --trace -o opt-66b.trace
      flashneuron plan --replay opt-66b.trace --hidden-size 9216 --dtype int4 --ram 4G,8G
    """
    if (package is None) == (replay is None):
        raise InputError("name a package, or a trace with --replay")
    if curve is not None and device is not None:
        raise InputError("give --curve or --device, not both")
    lists, _ = split_lists(texts)
    target = target_of_file(curve) if curve else target_here(device)
    with budget_explained():
        if package is not None:
            planned = of_package(package, lists, tokens, target)
        else:
            assert replay is not None
            planned = of_trace(replay, lists, hidden_size, dtype, gated, target)
        plan = make_plan(planned.points, planned.predict_one)
    notes = [planned.simulated, f"{target.name} by its curve in {curve}" if curve else None]
    simulated = "; ".join(filter(None, notes)) or None
    click.echo(
        json.dumps(plan_json(plan, target, simulated)) if style == "json" else plan_text(plan, target, simulated)
    )
