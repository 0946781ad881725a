"""RoPE of config.json, in both spellings: transformers 5's `rope_parameters`, and `rope_theta` with `rope_scaling`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flashneuron.errors import ModelError
from flashneuron.model.families.config import positive
from flashneuron.model.spec import Rope

ROPE_FIELDS = ("rope_parameters", "rope_theta", "rope_scaling", "partial_rotary_factor", "max_position_embeddings")
_DEFAULT_THETA = 10000.0

Scaling = tuple[Tensor, float]  # inverse frequencies [head_size / 2], magnitude


def read_rope(config: dict[str, Any], head_size: int) -> Rope:
    """Errors: ModelError naming a field that is not supported."""
    parameters = _parameters(config)
    kind = parameters.pop("rope_type")
    theta = positive(parameters, "rope_theta", _DEFAULT_THETA)
    parameters.pop("rope_theta", None)
    if kind not in _SCALINGS:
        raise ModelError(f"config.json: rope_type {kind!r} is not supported; supported: {', '.join(_SCALINGS)}")
    scale, fields = _SCALINGS[kind]
    for name, value in parameters.items():
        if name not in fields and value is not None:
            raise ModelError(f"config.json: {name}={value!r} of rope_type {kind!r} is not supported")
    if head_size % 2:
        raise ModelError(f"config.json: heads of {head_size} numbers cannot be rotated in pairs")
    frequencies, magnitude = scale(_plain(theta, head_size), parameters, theta, config)
    return Rope(tuple(frequencies.tolist()), magnitude)


def _parameters(config: dict[str, Any]) -> dict[str, Any]:
    """Of either spelling, with `rope_type`; without what has its neutral value."""
    old, new = config.get("rope_scaling") or {}, config.get("rope_parameters") or {}
    for name, found in (("rope_scaling", old), ("rope_parameters", new)):
        if not isinstance(found, dict) or any(isinstance(value, dict) for value in found.values()):
            raise ModelError(f"config.json: {name}={found!r} is not supported: expected one set of parameters")
    parameters = {"rope_theta": config.get("rope_theta"), **old, **new}
    kind = parameters.pop("type", "default")
    parameters.setdefault("rope_type", kind)
    for factor in (config.get("partial_rotary_factor"), parameters.pop("partial_rotary_factor", None)):
        if factor not in (None, 1, 1.0):
            raise ModelError(f"config.json: partial_rotary_factor={factor!r} is not supported; supported: 1")
    return parameters


def _plain(theta: float, head_size: int) -> Tensor:
    return 1.0 / theta ** (torch.arange(0, head_size, 2).float() / head_size)


def _default(plain: Tensor, parameters: dict[str, Any], theta: float, config: dict[str, Any]) -> Scaling:
    """Dynamic NTK scaling too: it changes nothing up to max_position_embeddings, which a context here never exceeds."""
    return plain, 1.0


def _linear(plain: Tensor, parameters: dict[str, Any], theta: float, config: dict[str, Any]) -> Scaling:
    return plain / positive(parameters, "factor"), 1.0


def _llama3(plain: Tensor, parameters: dict[str, Any], theta: float, config: dict[str, Any]) -> Scaling:
    """Slow pairs are stretched by `factor`, fast ones left alone, and those between blended."""
    factor, low, high = (positive(parameters, name) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    if low == high:
        raise ModelError(f"config.json: low_freq_factor and high_freq_factor are both {low}")
    turns = positive(parameters, "original_max_position_embeddings") * plain / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return plain * (kept + (1 - kept) / factor), 1.0


def _yarn(plain: Tensor, parameters: dict[str, Any], theta: float, config: dict[str, Any]) -> Scaling:
    """YaRN (arXiv 2309.00071): as llama3, but blended over the pair's index; and attention grows sharper."""
    original = positive(parameters, "original_max_position_embeddings")
    factor = positive(parameters, "factor", positive(config, "max_position_embeddings") / original)

    def pair_of(turns: float) -> float:
        """The (fractional) pair that turns so often within the original context."""
        return len(plain) * math.log(original / (2 * math.pi * turns)) / math.log(theta)

    first, last = (pair_of(positive(parameters, *item)) for item in (("beta_fast", 32.0), ("beta_slow", 1.0)))
    if parameters.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 2 * len(plain) - 1)
    stretched = ((torch.arange(len(plain)) - first) / (max(last - first, 0) or 1e-3)).clamp(0, 1)
    magnitude = positive(parameters, "attention_factor", 0.1 * math.log(factor) + 1 if factor > 1 else 1.0)
    return plain * (1 - stretched + stretched / factor), magnitude


# rope_type → how, and the fields that it has besides rope_theta.
_SCALINGS: dict[str, tuple[Callable[[Tensor, dict[str, Any], float, dict[str, Any]], Scaling], tuple[str, ...]]] = {
    "default": (_default, ()),
    "linear": (_linear, ("factor",)),
    "dynamic": (_default, ("factor",)),
    "llama3": (_llama3, ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")),
    "yarn": (
        _yarn,
        ("factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "attention_factor", "truncate"),
    ),
}
