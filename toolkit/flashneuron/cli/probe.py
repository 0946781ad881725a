"""`flashneuron probe`: a device's flash curve."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from flashneuron.cli.options import device_option, format_option
from flashneuron.cli.progress import make_progress
from flashneuron.profile.flash_curve import tune
from flashneuron.profile.probe import probe_device
from flashneuron.report.curve import curve_text
from flashneuron.units import parse_bytes

RECORDS = (4096, 16384, 32768)  # int4, fp16 and fp32 bundles of a model with hidden size 4096


@click.command("probe")
@click.option("--size", default="1G", show_default=True, help="Of the scratch file, which leaves nothing behind.")
@device_option
@format_option("table", "json")
def command(size: str, device: str | None, style: str) -> None:
    """Measure how fast a device reads its flash: by size of a read and threads, steadily and in bursts, on each kind of
    core, and what lies in the page cache; about 40 seconds.

    Later runs on the device take their reader's threads, gaps and longest read from it, unless told otherwise; plans
    price their reads by it.

    \b
    Examples:
      flashneuron probe --device host
      flashneuron probe --size 4G --format json
    """
    progress = make_progress()
    curve, path = probe_device(device, parse_bytes(size), progress)
    tunings = {record: tune(curve.points, record) for record in RECORDS} if curve.of_flash else {}
    if style == "json":
        settings = {str(record): asdict(tuning) for record, tuning in tunings.items()}
        click.echo(json.dumps({**curve.model_dump(mode="json"), "settings": settings, "file": str(path)}))
    else:
        click.echo(curve_text(curve, tunings))
    progress.note(f"kept in {path}")
