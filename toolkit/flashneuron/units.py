"""Sizes and durations as people write them. K, M and G are powers of 1024."""

from __future__ import annotations

import re

from flashneuron.errors import InputError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_bytes(text: str) -> int:
    """Bytes of "3G", "512M", "1.5GiB" or "1048576". Raises InputError for anything else and for zero."""
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * 1024 ** _POWERS[match[2].upper()]) if match else 0
    if size <= 0:
        raise InputError(f"'{text}' is not a size; write for instance 512M, 3G or 1.5G (powers of 1024)")
    return size


def format_bytes(size: float) -> str:
    """At most three digits and a binary unit: 12 B, 3.4 KiB, 512 MiB, 1.25 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1000 or unit == "TiB":
            break
        size /= 1024
    digits = 0 if unit == "B" or abs(size) >= 100 else 1 if abs(size) >= 10 else 2
    return f"{size:.{digits}f} {unit}"
