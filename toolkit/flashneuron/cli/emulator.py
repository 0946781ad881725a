"""flashneuron emulator: an emulated phone on this machine."""

from __future__ import annotations

import json

import click

from flashneuron.cli.emulator_event import event
from flashneuron.cli.emulator_faults import faults
from flashneuron.cli.emulator_phone import phone_json, show_limits
from flashneuron.cli.options import format_option
from flashneuron.cli.progress import make_progress
from flashneuron.device.phones import running_phones
from flashneuron.emulator.events import check_deniable, deny
from flashneuron.emulator.phone import start_phone, stop_phone
from flashneuron.emulator.profiles import DEFAULT_PROFILE, load_profile, profile_names
from flashneuron.errors import InputError


@click.group("emulator")
def command() -> None:
    """A phone on 127.0.0.1: Android's real adbd, with the RAM and the flash limits of a device profile."""


@command.command()
@click.option("--profile", default=DEFAULT_PROFILE, show_default=True, type=click.Choice(profile_names()))
@click.option("--denied", help="Commands that cannot be executed, separated by commas: dumpsys,getprop …")
@click.option("--port", type=int, help="Port on 127.0.0.1; default: the first free one from 5038.")
@format_option("table", "json")
def start(profile: str, denied: str | None, port: int | None, style: str) -> None:
    """Start a phone. Needs Debian 12 or 13, root for its limits to hold; the first start fetches 35 MB.

    For instance: flashneuron emulator start --profile ufs-3.1 --denied dumpsys
    """
    commands = denied.split(",") if denied else []
    check_deniable(commands)
    phone = start_phone(profile, make_progress(), port)
    deny(phone, commands)
    if style == "json":
        click.echo(json.dumps(phone_json(phone)))
        return
    facts = load_profile(profile)
    click.echo(f"{phone.name}: {facts.title}, emulated, at {phone.device} (--device {phone.device})")
    click.echo(f"  figures of {facts.figures.date}: {facts.figures.source}; derived: {facts.figures.derived}")
    show_limits(phone, facts)


@command.command()
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help="Stop every phone.")
@click.option("--wipe", is_flag=True, help="Also erase the phone's flash.")
def stop(name: str | None, every: bool, wipe: bool) -> None:
    """Stop the phone NAME, or the only one that runs."""
    names = [phone.name for phone in running_phones()]
    if name and every:
        raise InputError("give a phone's name or --all, not both")
    if not every and not name and len(names) != 1:
        raise InputError(f"name the phone to stop, or --all; running: {', '.join(names) or 'none'}")
    if not names and not name:
        click.echo("no phone runs")
    for each in [name] if name else names:
        stop_phone(each, wipe)
        click.echo(f"{each} stopped")


@command.command("list")
@format_option("table", "json")
def list_phones(style: str) -> None:
    """The phones that run, and which of their limits are enforced."""
    phones = running_phones()
    if style == "json":
        click.echo(json.dumps({"phones": [phone_json(phone) for phone in phones]}))
    for phone in phones if style == "table" else ():
        click.echo(f"{phone.name}: profile {phone.profile}, at {phone.device}, process {phone.pid}")
        show_limits(phone, load_profile(phone.profile))


command.add_command(event)
command.add_command(faults)
