"""Which items took longest: a few of each batch, as a short text in its commit record.

`17:30512,3:9040` says that item 17 of the batch was in hand for 30.512 s, item 3 for 9.04 s.
"""

from __future__ import annotations

from collections.abc import Iterable

SLOWEST_MAX = 5
"""Of one batch, and of one chunk."""

SECONDS_LEAST = 0.001
"""What takes less is not written down: nobody looks for it, and most jobs are made of it."""

_ONE = r"\d{1,7}:\d{1,12}"
SLOWEST_PATTERN = rf"({_ONE}(?:,{_ONE}){{0,15}}|)"
"""The text, of a few more than are written."""

Slow = tuple[int, int]
"""The number of an item in its batch, and how many milliseconds it was in hand."""


class Slowest:
    """Keeps the slowest of what it takes. `least`: what takes no longer is of no use."""

    def __init__(self) -> None:
        self.least = SECONDS_LEAST
        self._kept: list[tuple[float, int]] = []

    def take(self, item: int, seconds: float) -> None:
        """An item was in hand so long; by its number in its batch."""
        kept = self._kept
        kept.append((seconds, item))
        if len(kept) >= SLOWEST_MAX:
            kept.sort(reverse=True)
            del kept[SLOWEST_MAX:]
            self.least = kept[-1][0]

    def list_all(self) -> tuple[Slow, ...]:
        """The slowest first."""
        return merge_slowest((item, round(seconds * 1000)) for seconds, item in self._kept)


def merge_slowest(slow: Iterable[Slow]) -> tuple[Slow, ...]:
    """The slowest of these, the slowest first. One that comes twice was done twice: the longer
    time stands."""
    longest: dict[int, int] = {}
    for item, milliseconds in slow:
        longest[item] = max(milliseconds, longest.get(item, 0))
    ordered = sorted(longest.items(), key=lambda each: (-each[1], each[0]))
    return tuple(ordered[:SLOWEST_MAX])


def encode_slowest(slow: Iterable[Slow]) -> str:
    return ",".join(f"{item}:{milliseconds}" for item, milliseconds in slow)


def decode_slowest(text: str) -> tuple[Slow, ...]:
    """The inverse, of a text that was checked where it was read."""
    pairs = (each.split(":") for each in text.split(",") if each)
    return tuple((int(item), int(milliseconds)) for item, milliseconds in pairs)
