"""The probe: a device's flash curve, measured by the runner and kept for later runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flashneuron.device.discover import open_device
from flashneuron.device.info import conditions
from flashneuron.device.protocol import Device
from flashneuron.device.runner import Runner
from flashneuron.device.sync import push_runner
from flashneuron.errors import FlashneuronError
from flashneuron.profile.flash_curve import FlashCurve, curve_path, write_curve
from flashneuron.profile.session import EventSource
from flashneuron.progress import Progress

POINTS = 6 * (11 + 3 * 5 + 11)  # what the runner measures on one kind of core, but for large reads by many threads
_PARTS = {"point": "points", "burst": "bursts", "kind_point": "kind_points", "hot_point": "hot_points"}


def probe_device(spec: str | None, size_bytes: int, progress: Progress) -> tuple[FlashCurve, Path]:
    """Measures on the device that `spec` names, and writes the curve's file."""
    device = open_device(spec)
    try:
        runner: Runner = push_runner(device, progress)
        curve = measure_curve(runner, device, size_bytes, progress)
    finally:
        device.close()
    path = curve_path(curve.conditions)
    write_curve(curve, path)
    return curve, path


def measure_curve(runner: EventSource, device: Device, size_bytes: int, progress: Progress) -> FlashCurve:
    found: dict[str, Any] = {part: [] for part in _PARTS.values()}
    found |= {"measured": datetime.now(UTC).isoformat(timespec="seconds"), "conditions": conditions(device)}
    with progress.step("probe flash", POINTS, "points") as advance:
        for event in runner.events("probe", {"folder": str(device.root), "size": str(size_bytes)}):
            if part := _PARTS.get(event["event"]):
                found[part].append(event)
                advance(1)
            elif event["event"] == "result":
                found |= event
    try:
        return FlashCurve.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise FlashneuronError(
            f"the runner's probe is incomplete at {where} ({first['msg']}); rebuild it: flashneuron runtime build"
        ) from None
