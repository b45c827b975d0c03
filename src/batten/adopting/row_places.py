"""Where the rows of a hand-made job lie, by the keys of their items.

A row takes about 60 bytes here, however long it is."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from batten.plan.keys.key_index import KeyIndex

_TAKEN, _REFUSED = 0, 1


class RowPlace(NamedTuple):
    """The number of a file, and the row's place in it."""

    file: int
    place: int


class RowPlaces:
    """Items have numbers in the order in which their keys were added; each has one row or more.
    Rows of an item that was refused are not taken. An item is met once the source was found to have
    its key."""

    def __init__(self) -> None:
        self._index = KeyIndex()
        self._file_of, self._place_of, self._next = array("I"), array("q"), array("q")
        self._first, self._last = array("q"), array("q")
        self._state, self._is_met = bytearray(), bytearray()

    def __len__(self) -> int:
        """How many items there are."""
        return len(self._index)

    def find(self, key: str) -> int | None:
        """The number of the item."""
        return self._index.find(key)

    def add(self, key: str, row: RowPlace) -> None:
        """One row more of an item, after those that it has."""
        number = self._index.add(key)
        at = len(self._place_of)
        self._file_of.append(row.file)
        self._place_of.append(row.place)
        self._next.append(-1)
        if number is None:
            self._first.append(at)
            self._last.append(at)
            self._state.append(_TAKEN)
            self._is_met.append(0)
        else:
            self._next[self._last[number]] = at
            self._last[number] = at

    def list_rows(self, number: int) -> Iterator[RowPlace]:
        at = self._first[number]
        while at >= 0:
            yield RowPlace(self._file_of[at], self._place_of[at])
            at = self._next[at]

    def first_row(self, number: int) -> RowPlace:
        return next(self.list_rows(number))

    def list_repeated(self) -> Iterator[int]:
        """Items of more than one row."""
        return (number for number, at in enumerate(self._first) if at != self._last[number])

    def refuse(self, number: int) -> None:
        self._state[number] = _REFUSED

    def is_taken(self, number: int) -> bool:
        return self._state[number] == _TAKEN

    @property
    def has_taken(self) -> bool:
        """Whether rows of any item are taken."""
        return _TAKEN in self._state

    def meet(self, number: int) -> None:
        self._is_met[number] = 1

    def list_unmet(self) -> list[int]:
        return [number for number, is_met in enumerate(self._is_met) if not is_met]
