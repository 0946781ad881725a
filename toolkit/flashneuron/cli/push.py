"""flashneuron push: a model package onto a device."""

from __future__ import annotations

from pathlib import Path

import click

from flashneuron.cli.options import device_option, package_argument
from flashneuron.cli.progress import make_progress
from flashneuron.device.discover import open_device
from flashneuron.device.sync import push_package
from flashneuron.units import format_bytes


@click.command("push")
@package_argument
@device_option
def command(package: Path, device: str | None) -> None:
    """Push the package PKG to a device's flash. What is there already does not travel again."""
    target = open_device(device)
    pushed = push_package(target, package, make_progress())
    kept_files, kept_bytes = pushed.total_files - pushed.sent_files, pushed.total_bytes - pushed.sent_bytes
    click.echo(
        f"{package.name} is on {target.name} as {pushed.manifest_sha256[:12]}: "
        f"{pushed.sent_files} files ({format_bytes(pushed.sent_bytes)}) pushed, "
        f"{kept_files} ({format_bytes(kept_bytes)}) were there"
    )
