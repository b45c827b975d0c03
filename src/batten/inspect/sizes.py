"""Sizes and ages for people."""

from __future__ import annotations

from batten.model.counts import count_of


def show_bytes(count: int) -> str:
    """`217.4 MB`: decimal, as `df -H` and disk makers count."""
    if count < 1000:
        return f"{count} bytes"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 1000:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} PB"


def show_age(seconds: float) -> str:
    """`64 seconds`, `3 hours`: the largest unit of which there are two."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return count_of(round(max(seconds, 0)), "second")
