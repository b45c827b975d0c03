"""Which keys were seen, and where, in about 20 bytes a key, however long it is."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Callable
from struct import Struct

_SHELVES = 1 << 12
_split: Callable[[bytes], tuple[int, ...]] = Struct("<QIH").unpack
_NUMBER_BITS = 32
_NUMBER_MASK = (1 << _NUMBER_BITS) - 1


class KeyIndex:
    """Keys numbered in the order they were added, found again by their text.

    108 bits of a digest stand for a key: that two of ten million keys agree in all of them has a
    chance of one in 10^18. Twelve bits choose a shelf; 64 are sorted there; the last 32 lie beside
    them with the number. So nothing is ever copied to make room but one short shelf.
    """

    def __init__(self) -> None:
        self._count = 0
        self._sorted = [array("Q") for _ in range(_SHELVES)]
        self._beside = [array("Q") for _ in range(_SHELVES)]

    def __len__(self) -> int:
        return self._count

    def add(self, key: str) -> int | None:
        """The number of the key; None if it was not there, and is now."""
        low, high, shelf = _digest(key)
        number, place = self._look(low, high, shelf)
        if number is None:
            self._sorted[shelf].insert(place, low)
            self._beside[shelf].insert(place, high << _NUMBER_BITS | self._count)
            self._count += 1
        return number

    def find(self, key: str) -> int | None:
        """The number of the key, or None."""
        return self._look(*_digest(key))[0]

    def _look(self, low: int, high: int, shelf: int) -> tuple[int | None, int]:
        """The number, and the place on the shelf where it is or would be."""
        lows, beside = self._sorted[shelf], self._beside[shelf]
        place = bisect_left(lows, low)
        while place < len(lows) and lows[place] == low:
            if beside[place] >> _NUMBER_BITS == high:
                return beside[place] & _NUMBER_MASK, place
            place += 1
        return None, place


def _digest(key: str) -> tuple[int, int, int]:
    low, high, shelf = _split(hashlib.blake2b(key.encode(), digest_size=14).digest())
    return low, high, shelf % _SHELVES
