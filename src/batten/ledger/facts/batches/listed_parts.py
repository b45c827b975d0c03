"""The parts that a listing shows: a million of them take less room than a million objects would.

Sizes and versions lie one after another, in the order of the batches. Both are read like a dict
(decision 0133).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence, ValuesView
from itertools import count, islice
from operator import eq, lt


class _PartTable:
    """`ends` says where the text of each version ends in `texts`."""

    def __init__(self, found: Iterable[tuple[int, int, str]]) -> None:
        self.batches, self.sizes, self.ends = array("q"), array("q"), array("q")
        self.texts = bytearray()
        add_batch, add_size, add_end = self.batches.append, self.sizes.append, self.ends.append
        texts, end = self.texts, 0
        for batch, size, version in found:
            text = version.encode()
            texts += text
            end += len(text)
            add_batch(batch)
            add_size(size)
            add_end(end)

    def in_order(self) -> _PartTable:
        """Most stores list them so, unless there are more than a million."""
        batches = self.batches
        if all(map(lt, batches, islice(batches, 1, None))):
            return self
        places = sorted(range(len(batches)), key=batches.__getitem__)
        return _PartTable((batches[each], self.sizes[each], self.version(each)) for each in places)

    def version(self, place: int) -> str:
        start = self.ends[place - 1] if place else 0
        return self.texts[start : self.ends[place]].decode()

    def find(self, batch: object) -> int:
        """Its place. Raises `KeyError`."""
        batches = self.batches
        if isinstance(batch, int):
            # Nearly always none is missing before it.
            if 0 <= batch < len(batches) and batches[batch] == batch:
                return batch
            place = bisect_left(batches, batch)
            if place < len(batches) and batches[place] == batch:
                return place
        raise KeyError(batch)

    def find_all(self, span: range) -> slice | None:
        """The places of all these batches; None if one is missing."""
        if span[-1] in self:
            last = self.find(span[-1])
            first = last - len(span) + 1
            if first >= 0 and self.batches[first] == span[0]:
                return slice(first, last + 1)
        return None

    def __contains__(self, batch: object) -> bool:
        try:
            self.find(batch)
        except KeyError:
            return False
        return True


class _OfParts:
    """What sizes and versions have in common: the batches, in order."""

    def __init__(self, table: _PartTable) -> None:
        self._table = table

    def has_all(self, span: range) -> bool:
        """Whether there is a part of each of these batches."""
        return self._table.find_all(span) is not None

    def __contains__(self, batch: object) -> bool:
        return batch in self._table

    def __len__(self) -> int:
        return len(self._table.batches)

    def __iter__(self) -> Iterator[int]:
        return iter(self._table.batches)


class PartSizes(_OfParts, Mapping[int, int]):
    """In bytes, by batch."""

    def __getitem__(self, batch: int) -> int:
        return self._table.sizes[self._table.find(batch)]

    def values(self) -> _Sizes:
        return _Sizes(self)

    def in_order(self) -> array[int]:
        """As the batches are."""
        return self._table.sizes

    def of_all(self, span: range) -> array[int] | None:
        """Those of these batches, in order; None if one has no part."""
        places = self._table.find_all(span)
        return self._table.sizes[places] if places is not None else None

    def are(self, sizes: Sequence[int]) -> bool:
        """Whether these are the sizes of all batches from the first on, and there are no others."""
        table = self._table
        return (
            len(self) == len(sizes)
            and all(map(eq, table.batches, count()))
            and all(map(eq, table.sizes, sizes))
        )

    def without(self, batches: frozenset[int]) -> PartSizes:
        """The same but for these."""
        if not batches:
            return self
        return PartSizes(_PartTable((each, self[each], "") for each in self if each not in batches))


class _Sizes(ValuesView[int]):
    """Not each is looked up."""

    _mapping: PartSizes

    def __iter__(self) -> Iterator[int]:
        return iter(self._mapping.in_order())


class PartVersions(_OfParts, Mapping[int, str]):
    """By batch; empty texts in a folder."""

    def __getitem__(self, batch: int) -> str:
        return self._table.version(self._table.find(batch))

    def of_all(self, span: range) -> list[str]:
        """Those of these batches, which all have a part, in order."""
        places = self._table.find_all(span)
        if places is None:
            raise KeyError(span)
        texts, ends = self._table.texts, self._table.ends
        start = ends[places.start - 1] if places.start else 0
        found = []
        for end in ends[places]:
            found.append(texts[start:end].decode())
            start = end
        return found

    def in_order(self) -> Iterator[str]:
        texts, start = self._table.texts, 0
        for end in self._table.ends:
            yield texts[start:end].decode()
            start = end


def list_parts(found: Iterable[tuple[int, int, str]]) -> tuple[PartSizes, PartVersions]:
    """Of batches, sizes and versions, each batch once."""
    table = _PartTable(found).in_order()
    return PartSizes(table), PartVersions(table)
