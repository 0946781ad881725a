"""flashneuron emulator event: what befalls a phone."""

from __future__ import annotations

import click

from flashneuron.cli.emulator_phone import find_phone, phone_option
from flashneuron.emulator import events
from flashneuron.units import parse_bytes


@click.group("event")
def event() -> None:
    """Have something befall a running phone. Numbers measured from then on say so.

    \b
    Examples:
      flashneuron emulator event thermal severe
      flashneuron emulator event memory 1G        # and: memory normal
      flashneuron emulator event battery 7
      flashneuron emulator event storage full       # or: read-only, normal
      flashneuron emulator event denied dumpsys getprop
      flashneuron emulator event reboot
    """


@event.command()
@click.argument("status", type=click.Choice(events.STATUSES))
@phone_option
def thermal(status: str, phone: str | None) -> None:
    """Thermal STATUS as dumpsys tells it, and a slower processor."""
    click.echo(events.heat(find_phone(phone), status))


@event.command()
@click.argument("percent", type=click.IntRange(0, 100))
@phone_option
def battery(percent: int, phone: str | None) -> None:
    """The battery's charge."""
    click.echo(events.drain(find_phone(phone), percent))


@event.command()
@click.argument("available", metavar="BYTES|normal")
@phone_option
def memory(available: str, phone: str | None) -> None:
    """Memory that programs can have: the cap and MemAvailable. K, M, G are powers of 1024."""
    click.echo(events.squeeze(find_phone(phone), None if available == "normal" else parse_bytes(available)))


@event.command()
@click.argument("state", type=click.Choice(["full", "read-only", "normal"]))
@phone_option
def storage(state: str, phone: str | None) -> None:
    """Storage that takes no writes: full where files of a push arrive, or read-only."""
    click.echo(events.fill(find_phone(phone), state))


@event.command()
@click.argument("commands", nargs=-1)
@phone_option
def denied(commands: tuple[str, ...], phone: str | None) -> None:
    """COMMANDS that cannot be executed; none: all can."""
    click.echo(events.deny(find_phone(phone), list(commands)))


@event.command("reboot")
@phone_option
def reboot_command(phone: str | None) -> None:
    """Restart the phone; its flash stays."""
    click.echo(events.reboot(find_phone(phone)))
