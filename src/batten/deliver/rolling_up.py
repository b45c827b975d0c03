"""Rolls up the records of each full thousand of batches, in a store without a lock (decision 0135).

A roll-up saves later looks a thousand requests, and nothing rests on it. So whatever forbids to
make it is no failure, and whoever publishes next tries it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from contextlib import suppress

from batten.errors import StorageError
from batten.ledger.facts.batches.rolled_sums import encode_rolled
from batten.ledger.guarded import carry_out
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.names import Layout
from batten.model.disk.records import Unreadable
from batten.model.disk.rolled import RolledUp, number_of, span_of
from batten.model.rules.guards import ROLLING_UP
from batten.storage.base import Store
from batten.storage.relative import last_piece

BYTES_MAX = RECORD_BYTES_MAX["rolled"] - RolledUp.bytes_max


class RollingUp:
    """Of one run. `versions` are those of the parts that were there before it. It keeps the records
    of the thousand that is published, and reads those that it lacks."""

    def __init__(self, storage: Store, layout: Layout, versions: Mapping[int, str]) -> None:
        self._storage = storage
        self._layout = layout
        self._before = versions
        self._since: dict[int, str] = {}
        self._number = -1
        self._kept: dict[str, bytes] = {}
        self._kept_bytes = 0
        self._lacking: list[int] | None = None

    def take(self, batch: int, version: str, record: bytes | None, waiting: Set[int]) -> None:
        """A batch was published, as a part of this version. `record` is what its record holds, if
        that is known. Batches that are `waiting` are to be published again."""
        number = number_of(batch)
        if number != self._number:
            self._number, self._kept, self._kept_bytes = number, {}, 0
        self._since[batch] = version
        self._kept_bytes += len(record or b"")
        if self._kept_bytes > BYTES_MAX:
            self._kept = {}
            return
        if record is not None:
            self._kept[self._layout.commit(batch, version)] = record
        self._roll_up(number, waiting)

    def make_up(self, waiting: Set[int]) -> None:
        """Make one that an earlier run did not come to make. One at a time, so that no run begins
        by reading all records again."""
        with suppress(StorageError):
            if self._lacking is None:
                self._lacking = self._find_lacking()
            if self._lacking:
                self._roll_up(self._lacking.pop(), waiting)

    def _find_lacking(self) -> list[int]:
        numbers = sorted({number_of(batch) for batch in self._before}, reverse=True)
        full = [each for each in numbers if all(map(self._version_of, span_of(each)))]
        if not full:
            return []
        there = set(self._storage.list_names(self._layout.rolled))
        return [each for each in full if last_piece(self._name_of(each)) not in there]

    def _roll_up(self, number: int, waiting: Set[int]) -> None:
        span = span_of(number)
        # The last is nearly always published last.
        if not (waiting.isdisjoint(span) and all(map(self._version_of, reversed(span)))):
            return
        try:
            data = encode_rolled(number, list(self._load(span)))
            for step in ROLLING_UP:
                carry_out(self._storage, step, self._name_of(number), data)
        except (StorageError, Unreadable):
            self._lacking = []
        for batch in span:
            if not self._before.get(batch):
                del self._since[batch]

    def _load(self, span: range) -> Iterator[bytes]:
        """All records. Raises `Unreadable` where one is gone, or they are too large together."""
        names = [self._layout.commit(batch, self._version_of(batch)) for batch in span]
        left = [name for name in names if name not in self._kept]
        pieces = map(last_piece, left)
        found = dict(zip(left, self._storage.read_each(self._layout.commits, pieces), strict=True))
        size = 0
        for name in names:
            try:
                record = self._kept.get(name) or found.get(name) or self._storage.read(name)
            except FileNotFoundError:
                raise Unreadable(f"{name} is gone") from None
            size += len(record)
            if size > BYTES_MAX:
                raise Unreadable("they are too large to be put together")
            yield record

    def _name_of(self, number: int) -> str:
        return self._layout.rolled_up(number, map(self._version_of, span_of(number)))

    def _version_of(self, batch: int) -> str:
        return self._since.get(batch) or self._before.get(batch, "")
