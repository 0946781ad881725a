"""One number per neuron of a layer: places on flash and frequencies. Bytes: FORMAT.md, "Places"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flashneuron.errors import PackageError
from flashneuron.package.atomic import atomic_write

Array = np.ndarray[Any, Any]


def write_places(path: Path, places: Array) -> None:
    """places[n] is where neuron n lies. Precondition: a permutation of 0 … F-1."""
    if not is_permutation(places):
        raise ValueError("places are not a permutation")
    atomic_write(path, places.astype("<u4").tobytes())


def read_places(path: Path) -> Array:
    """u32 [F]. Errors: PackageError."""
    places = np.fromfile(path, "<u4")
    if not is_permutation(places):
        raise PackageError(f"{path}: is not a permutation of the layer's neurons; export or copy the package again")
    return places


def is_permutation(places: Array) -> bool:
    return bool(np.array_equal(np.sort(places), np.arange(len(places))))


def inverse(places: Array) -> Array:
    """neurons[p] is the neuron at place p."""
    neurons = np.empty_like(places)
    neurons[places] = np.arange(len(places), dtype=places.dtype)
    return neurons


def write_frequency(path: Path, frequency: Array) -> None:
    """Precondition: shares, 0 to 1."""
    if not _are_shares(frequency):
        raise ValueError("frequencies are not shares")
    atomic_write(path, frequency.astype("<f4").tobytes())


def read_frequency(path: Path) -> Array:
    """fp32 [F]. Errors: PackageError."""
    frequency = np.fromfile(path, "<f4")
    if not _are_shares(frequency):
        raise PackageError(f"{path}: has a frequency that is not a share; export or copy the package again")
    return frequency


def _are_shares(frequency: Array) -> bool:
    return bool(np.all((frequency >= 0) & (frequency <= 1)))
