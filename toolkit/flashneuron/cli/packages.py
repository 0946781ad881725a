"""flashneuron packages: what packages are on a device."""

from __future__ import annotations

import json

import click

from flashneuron.cli.options import device_option, format_option
from flashneuron.cli.progress import make_progress
from flashneuron.cli.store_summary import store_json, store_table
from flashneuron.device.discover import open_device
from flashneuron.device.packages import read_store, remove_package, remove_unused, verify_package
from flashneuron.device.sync import push_runner
from flashneuron.errors import FlashneuronError, InputError
from flashneuron.units import format_bytes


@click.group("packages")
def command() -> None:
    """List, verify and remove the packages on a device's flash. PKG is a name or the first digits of an id."""


@command.command("list")
@device_option
@format_option("table", "json")
def list_command(device: str | None, style: str) -> None:
    """What is there, what it takes, and what removing it would free."""
    target = open_device(device)
    store = read_store(target)
    click.echo(json.dumps(store_json(store)) if style == "json" else store_table(store, target.name))


@command.command()
@click.argument("package", metavar="PKG")
@device_option
def verify(package: str, device: str | None) -> None:
    """Hash every file of PKG on the device. What is damaged is removed there, so that a push sends it again."""
    target, progress = open_device(device), make_progress()
    found = read_store(target).find(package)
    damaged = verify_package(target, push_runner(target, progress), found, progress)
    if damaged or found.defect:
        what = found.defect or f"{len(damaged)} of {len(found.objects)} files are damaged or missing; push it again"
        raise FlashneuronError(f"{found.name} on {target.name}: {what}")
    click.echo(f"{found.name} on {target.name} is whole: {len(found.objects)} files, {format_bytes(found.total_bytes)}")


@command.command()
@click.argument("package", metavar="[PKG]", required=False)
@click.option("--unused", is_flag=True, help="Instead of a package: files that none needs, of interrupted pushes.")
@device_option
def remove(package: str | None, unused: bool, device: str | None) -> None:
    """Remove PKG and the files that no other package needs.

    \b
    Examples:
      flashneuron packages remove opt-1.3b
      flashneuron packages remove --unused
    """
    if (package is not None) == unused:
        raise InputError("name a package, or give --unused")
    target = open_device(device)
    freed = remove_unused(target) if package is None else remove_package(target, read_store(target).find(package))
    click.echo(f"removed {package or 'unused files'} from {target.name}: {format_bytes(freed)} are free again")
