"""flashneuron emulator faults: what befalls a phone's link."""

from __future__ import annotations

import signal

import click

from flashneuron.cli.emulator_phone import find_phone, phone_option
from flashneuron.emulator.faults import KINDS, Fault, random_fault
from flashneuron.emulator.faults_proxy import FaultsProxy
from flashneuron.units import parse_bytes


@click.command("faults")
@click.option("--kind", type=click.Choice(KINDS), help="What happens; default: nothing, or by --seed.")
@click.option("--at", default="1M", show_default=True, help="After how many bytes.")
@click.option("--from-device", is_flag=True, help="Of what the device says; default: of what it is told.")
@click.option("--hide", multiple=True, metavar="FEATURE", help="One that the device shall not have said: shell_v2 …")
@click.option("--seed", type=int, help="One at random instead, the same for the same seed.")
@phone_option
def faults(
    kind: str | None, at: str, from_device: bool, hide: tuple[str, ...], seed: int | None, phone: str | None
) -> None:
    """A second port to a running phone, on which one fault happens. Runs until Ctrl+C.

    \b
    Examples:
      flashneuron emulator faults --kind cut --at 10M
      flashneuron emulator faults --hide shell_v2     # as a device older than Android 7
      flashneuron emulator faults --seed 7
    """
    chosen = [Fault(kind, "from_device" if from_device else "to_device", parse_bytes(at))] if kind else []  # type: ignore[arg-type]
    if seed is not None:
        chosen = [random_fault(seed, parse_bytes(at), parse_bytes(at))]
    hidden = {feature.encode(): b"-" * len(feature.encode()) for feature in hide}
    with FaultsProxy(find_phone(phone).port, chosen, hidden).running() as proxy:
        click.echo(f"--device 127.0.0.1:{proxy.port}: {chosen[0] if chosen else 'nothing happens'}")
        signal.pause()
