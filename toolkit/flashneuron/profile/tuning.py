"""What a device's flash curve settles for reads."""

from __future__ import annotations

from dataclasses import asdict, replace

from flashneuron.package.schema import Manifest
from flashneuron.profile.flash_curve import FlashCurve, tune
from flashneuron.profile.settings import RunSettings


def tuned(settings: RunSettings, curve: FlashCurve | None, manifest: Manifest) -> RunSettings:
    """As tuned_for a record of the package."""
    variants = manifest.ffn.variants
    variant = next((v for v in variants if v.layout == settings.layout), variants[0])
    part = next(iter(variant.layers[0].parts(variant.layout)))
    return tuned_for(settings, curve, manifest.geometry(variant, part).record_bytes)


def tuned_for(settings: RunSettings, curve: FlashCurve | None, record_bytes: int) -> RunSettings:
    """With threads, gap and longest read of the reader, where the settings leave them open and the curve is flash's."""
    if curve is None or not curve.of_flash:
        return settings
    found = asdict(tune(curve.points, record_bytes))
    return replace(settings, **{name: value for name, value in found.items() if getattr(settings, name) is None})
