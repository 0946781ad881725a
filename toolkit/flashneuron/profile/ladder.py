"""The paper's steps (arXiv 2312.11514, table 2) as settings of the one decode loop, each adding one idea."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from flashneuron.errors import InputError
from flashneuron.package.schema import Manifest
from flashneuron.profile.settings import RunSettings

WINDOW = 4  # tokens; the paper's choice for OPT


@dataclass(frozen=True)
class Step:
    name: str
    residency: str
    predictor: str
    layout: str
    window: int | None = None

    def apply(self, settings: RunSettings) -> RunSettings:
        """Without what the paper does not have: a hot set, an order, reads that overlap with work."""
        return replace(
            settings,
            residency=self.residency,
            predictor=self.predictor,
            layout=self.layout,
            window=self.window,
            hot="off",
            order="none",
            overlap="off",
        )


LADDER = (
    Step("naive", "naive", "none", "split"),
    Step("hybrid", "hybrid", "none", "split"),
    Step("+ predictor", "hybrid", "lowrank", "split"),
    Step("+ window", "cached", "lowrank", "split", WINDOW),
    Step("+ bundling", "cached", "lowrank", "bundled", WINDOW),
)
DECIDED = ("residency", "predictor", "window", "layout", "hot", "order", "overlap")  # what the ladder sets itself


def check(manifest: Manifest, given: Collection[str]) -> None:
    """Raises InputError unless the ladder can be measured. `given`: the names of the settings that were asked for."""
    if fixed := [f"--{name}" for name in DECIDED if name in given]:
        raise InputError(f"--ladder sets {', '.join(fixed)} itself; leave that out")
    check_package(manifest)


def check_package(manifest: Manifest) -> None:
    """Raises InputError unless the package holds what every step needs."""
    layouts = {variant.layout for variant in manifest.ffn.variants}
    missing = [f"layout {name}" for name in ("bundled", "split") if name not in layouts]
    if not manifest.predictors:
        missing.append("predictors")
    if missing:
        raise InputError(
            f"the ladder needs both layouts and predictors, package {manifest.name} has no {' and no '.join(missing)}; "
            "export it so: flashneuron export MODEL -o PKG --layout bundled,split --predictor lowrank"
        )
