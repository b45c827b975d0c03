"""Which keys were seen, and where, in about a dozen bytes a key."""

from __future__ import annotations

import hashlib
from array import array

_EMPTY = 0


class KeyIndex:
    """Keys numbered in the order they were added, found again by their text.

    A table of open addresses over 128-bit digests: two halves, so that a key is taken for another
    only if 128 bits agree.
    """

    def __init__(self) -> None:
        self._count = 0
        self._resize(1 << 10)

    def __len__(self) -> int:
        return self._count

    def find(self, key: str) -> int | None:
        """The number of the key, or None."""
        low, high = _digest(key)
        place = self._place(low, high)
        number = self._numbers[place]
        return None if number == _EMPTY else number - 1

    def add(self, key: str) -> None:
        """Add a key that is not there."""
        if (self._count + 1) * 3 > len(self._lows) * 2:
            self._grow()
        low, high = _digest(key)
        place = self._place(low, high)
        self._count += 1
        self._lows[place] = low
        self._highs[place] = high
        self._numbers[place] = self._count

    def _place(self, low: int, high: int) -> int:
        place = low & self._mask
        while self._numbers[place] != _EMPTY and (
            self._lows[place] != low or self._highs[place] != high
        ):
            place = (place + 1) & self._mask
        return place

    def _resize(self, slots: int) -> None:
        self._mask = slots - 1
        self._lows = array("Q", bytes(8 * slots))
        self._highs = array("Q", bytes(8 * slots))
        self._numbers = array("L", bytes(array("L").itemsize * slots))

    def _grow(self) -> None:
        old = (self._lows, self._highs, self._numbers)
        self._resize(len(self._lows) * 2)
        for low, high, number in zip(*old, strict=True):
            if number != _EMPTY:
                place = self._place(low, high)
                self._lows[place], self._highs[place], self._numbers[place] = low, high, number


def _digest(key: str) -> tuple[int, int]:
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
