"""Sizes and ages for people."""

from __future__ import annotations

import re
from collections.abc import Iterable

from batten.model.patterns import pattern
from batten.model.telling.counts import count_of

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = pattern(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", re.IGNORECASE)


def show_bytes(count: int) -> str:
    """`217.4 MB`: decimal, as `df -H` and disk makers count."""
    if count < 1000:
        return count_of(count, "byte")
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 1000:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} PB"


def tell_other_size(found: int, written: int) -> str:
    """`has 500 bytes, and 1,638 bytes were written`: rounded, both may look alike."""
    return f"has {count_of(found, 'byte')}, and {tell_written(written)}"


def tell_written(count: int) -> str:
    """`1,638 bytes were written`."""
    return f"{count_of(count, 'byte')} {'was' if count == 1 else 'were'} written"


def show_age(seconds: float) -> str:
    """`64 seconds`, `3 hours`: the largest unit of which there are two."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return count_of(round(max(seconds, 0)), "second")


def estimate_bytes(sizes: Iterable[int], items: int, pending: int) -> int:
    """What the pending items will take, by what the files of so many items take."""
    return pending * sum(sizes) // items if items else 0


def parse_bytes(text: str) -> int:
    """The bytes of `500MB`, `1.5G` or `2000000`; raises `ValueError` for anything else."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 500M, 2GB or 1000000")
    return int(float(match[1]) * _UNITS[match[2].upper()])
