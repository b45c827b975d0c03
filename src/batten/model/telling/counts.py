"""Numbers with their nouns, for people."""

from __future__ import annotations


def count_of(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 key", "1,000 keys"; `plural` where that is not noun and s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
