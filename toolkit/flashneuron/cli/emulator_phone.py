"""A running emulated phone on the command line: which one is meant, and what is said of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from flashneuron.device.phones import RunningPhone, running_phones
from flashneuron.emulator.profiles import Profile, curve_text
from flashneuron.errors import InputError

phone_option = click.option("--phone", metavar="NAME", help="Which one; default: the only one that runs.")


def find_phone(name: str | None) -> RunningPhone:
    phones = running_phones()
    found = [phone for phone in phones if name in (None, phone.name)]
    if len(found) != 1:
        there = ", ".join(phone.name for phone in phones) or "none"
        raise InputError(f"name the phone by --phone; running: {there}")
    return found[0]


def phone_json(phone: RunningPhone) -> dict[str, Any]:
    return {"device": phone.device, **asdict(phone)}


def show_limits(phone: RunningPhone, profile: Profile) -> None:
    for limit in phone.limits:
        state = "enforced" if limit["enforced"] else "NOT enforced"
        click.echo(f"  {limit['name']} {limit['value']}: {state} ({limit['note']})")
    if curve := curve_text(profile):
        click.echo(f"  {curve}")
