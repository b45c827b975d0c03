"""Which keys were seen, and where, in 24 to 48 bytes a key, however long it is."""

from __future__ import annotations

import hashlib
from array import array

_EMPTY = 0


class KeyIndex:
    """Keys numbered in the order they were added, found again by their text.

    A table of open addresses over 96 bits of a digest: that two of ten million keys agree in all
    of them has a chance of one in 10^15.
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
        self._highs = array("I", bytes(4 * slots))
        self._numbers = array("I", bytes(4 * slots))

    def _grow(self) -> None:
        old = (self._lows, self._highs, self._numbers)
        self._resize(len(self._lows) * 2)
        for low, high, number in zip(*old, strict=True):
            if number != _EMPTY:
                place = self._place(low, high)
                self._lows[place], self._highs[place], self._numbers[place] = low, high, number


def _digest(key: str) -> tuple[int, int]:
    digest = hashlib.blake2b(key.encode(), digest_size=12).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
