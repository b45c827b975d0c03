"""The plan: what there is to do, durable before anything is done, read a batch at a time.

All that batten promises is said of the plan. It gives each item one place, by its key, so no item
is done twice and none is forgotten. It cuts the items into batches, and each batch has one part, by
its number: so the names of the parts are the progress. It is written before the first item is
worked on. From then on it only grows: a look at the source adds what is new to the end, as a new
segment, and an old segment never changes. So a batch means the same items in every run. A segment
is a small record, from which accounts are closed, and an Arrow file of keys, of which a worker
reads one batch (decision 0004).

A plan is one segment or more; each is a JSON record (`model.records.Segment`) and, unless ordinals
say all, an Arrow file with a record batch for every batch: keys, positions, items. The Arrow
file is published first, so a record never names keys that are not there.
"""

from __future__ import annotations

import errno
from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from batten.errors import CorruptError
from batten.ledger.files.plan_file import PICKLE, VALUE, PlanFile
from batten.model.disk.items.key_digests import describe_ordinals
from batten.model.disk.items.row_digests import DIGEST_BYTES
from batten.model.disk.items.versions import GONE, UNKNOWN, VERSION_BYTES, Versions
from batten.model.disk.names import Layout
from batten.model.disk.records import Segment, Unreadable
from batten.model.telling.commands import command
from batten.model.value_class import value_class
from batten.plan.known_items import KnownItems
from batten.plan.pickles_of_0_1 import require_owned
from batten.sources.base import ItemsWanted
from batten.sources.identity.keys import is_stand_in
from batten.storage.base import Store
from batten.storage.failures import reading_failure

if TYPE_CHECKING:
    import pyarrow as pa

OPEN_SEGMENTS = 2
NO_VERSIONS: Mapping[str, str] = MappingProxyType({})


@value_class
class PlanBatch:
    """One batch of the plan. `first_item` is the number of its first item within the whole plan;
    `keys_description` stands for its keys (see `model.keys`)."""

    number: int
    first_item: int
    items: int
    keys_description: str
    segment: int
    index: int


class Plan:
    """The segments of a plan, and the batches in them. May be used in several processes."""

    def __init__(
        self,
        storage: Store,
        layout: Layout,
        segments: list[Segment],
        revised: Mapping[str, str] = NO_VERSIONS,
    ) -> None:
        self.storage, self.layout = storage, layout
        self.segments = segments
        self.revised = revised
        """In a store, of which version is what the plan says of items that may change, by name."""
        self.moved_positions: array[int] | None = None
        """Where the source has the items now, by their number in the plan, if no longer there
        where it had them when they were planned."""
        self._first_batches = [segment.first_batch for segment in segments]
        self._owned: set[int] = set()
        known = KnownItems(storage, layout, segments, revised)
        self._open = lru_cache(maxsize=OPEN_SEGMENTS)(self._open_segment)
        self._digests = lru_cache(maxsize=OPEN_SEGMENTS)(known.load_digests)
        self._versions = lru_cache(maxsize=OPEN_SEGMENTS)(known.load_versions)
        self._values = lru_cache(maxsize=OPEN_SEGMENTS)(known.load_values)
        self._keys_of = lru_cache(maxsize=OPEN_SEGMENTS)(self._read_keys)

    def __getstate__(self) -> tuple[Any, ...]:
        """What it has open is of this process."""
        revised = dict(self.revised)
        return self.storage, self.layout, self.segments, revised, self.moved_positions

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        *own, moved_positions = state
        self.__init__(*own)  # type: ignore[misc]
        self.moved_positions = moved_positions

    @property
    def batches(self) -> int:
        return sum(segment.batches for segment in self.segments)

    @property
    def batch_size(self) -> int:
        return self.segments[-1].batch_size if self.segments else 1

    @property
    def items(self) -> int:
        return sum(segment.items for segment in self.segments)

    @property
    def duplicates(self) -> int:
        return self.segments[-1].duplicates if self.segments else 0

    @property
    def is_limited(self) -> bool:
        return bool(self.segments) and self.segments[-1].is_limited

    def batch(self, number: int) -> PlanBatch:
        place = self._place_of(number)
        segment = self.segments[place]
        index = number - segment.first_batch
        first = segment.first_ordinal + index * segment.batch_size
        items = min(segment.batch_size, segment.items - index * segment.batch_size)
        described = segment.keys[index] if segment.is_keyed else ""
        return PlanBatch(
            number=number,
            first_item=first,
            items=items,
            keys_description=described or describe_ordinals(first, first + items),
            segment=place,
            index=index,
        )

    def names_place(self, item: int) -> bool:
        """Whether the key of an item is only its place in the source, where it has no key."""
        batch = self.batch_of_item(item)
        if batch is None:
            return False
        found = self.batch(batch)
        return is_stand_in(self._keys_of(batch)[item - found.first_item])

    def _read_keys(self, batch: int) -> list[str]:
        return self.key_texts(self.batch(batch))

    def batch_of_item(self, item: int) -> int | None:
        """The batch that holds the item of this number, or None if the plan does not."""
        for segment in self.segments:
            if segment.first_ordinal <= item < segment.first_ordinal + segment.items:
                return segment.first_batch + (item - segment.first_ordinal) // segment.batch_size
        return None

    def wanted(self, batch: PlanBatch, start: int, stop: int) -> ItemsWanted:
        """What to ask the source for, to have items `start` to `stop` of the batch."""
        table = self.columns(batch)
        return ItemsWanted(
            first_ordinal=batch.first_item + start,
            count=stop - start,
            keys=_slice(table, "key", start, stop),
            positions=self._positions(batch, table, start, stop),
            payloads=_slice(table, VALUE, start, stop),
            pickles=self._find_pickles(batch, table, start, stop),
            digests=self._digests_of(batch, start, stop),
            later_payloads=self._later_payloads(batch, table, start, stop),
        )

    def _later_payloads(
        self, batch: PlanBatch, table: pa.RecordBatch | None, start: int, stop: int
    ) -> dict[int, bytes]:
        names = [] if table is None else table.schema.names
        if VALUE not in names and PICKLE not in names:
            return {}
        segment = self.segments[batch.segment]
        first = batch.first_item - segment.first_ordinal + start
        values = self.later_values(segment)
        return {n - first: values[n] for n in range(first, first + stop - start) if n in values}

    def later_values(self, segment: Segment) -> dict[int, bytes]:
        """The items that have changed since they were planned, as plain bytes, by their number in
        the segment: of a source that can't be read twice."""
        return self._values(segment.number)

    def _find_pickles(
        self, batch: PlanBatch, table: pa.RecordBatch | None, start: int, stop: int
    ) -> Callable[[], list[bytes]] | None:
        """What batten 0.1 put into a plan is given out only under the owner rule."""
        if table is None or table.schema.get_field_index(PICKLE) < 0:
            return None

        def give() -> list[bytes]:
            segment = self.segments[batch.segment]
            if segment.number not in self._owned:
                require_owned(self.storage, self.layout, segment)
                self._owned.add(segment.number)
            return _slice(table, PICKLE, start, stop) or []

        return give

    def _digests_of(self, batch: PlanBatch, start: int, stop: int) -> bytes | None:
        segment = self.segments[batch.segment]
        if segment.is_keyed:
            kept = self.versions(segment)
            digests = None if kept is None else kept.versions
        else:
            digests = self.digests(segment)
        first = batch.first_item - segment.first_ordinal
        begin, end = (first + start) * DIGEST_BYTES, (first + stop) * DIGEST_BYTES
        return None if digests is None else digests[begin:end]

    def digests(self, segment: Segment) -> bytes | None:
        """Those of all its items, one after another, or None if none were kept."""
        return self._digests(segment.number)

    def versions(self, segment: Segment) -> Versions | None:
        """Those of all its items, or None where none were kept."""
        return self._versions(segment.number) if segment.is_keyed else None

    def list_versions(self, start: int, stop: int) -> bytes:
        """Those of items `start` to `stop` of the plan, one after another."""
        found = bytearray()
        place = bisect_right(self.segments, start, key=lambda segment: segment.first_ordinal) - 1
        for segment in islice(self.segments, max(place, 0), None):
            if segment.first_ordinal >= stop:
                break
            first = max(start - segment.first_ordinal, 0)
            last = min(stop - segment.first_ordinal, segment.items)
            if first < last:
                kept = self.versions(segment)
                versions = UNKNOWN * segment.items if kept is None else kept.versions
                found += versions[first * VERSION_BYTES : last * VERSION_BYTES]
        return bytes(found)

    def revision(self, batch: PlanBatch, start: int = 0, stop: int | None = None) -> int:
        """The latest revision among items `start` to `stop` of the batch: which versions of them
        the plan wants."""
        kept, first = self._versions_of(batch)
        return kept.revision_of(first + start, first + (batch.items if stop is None else stop))

    def find_outdated(self, batch: PlanBatch, revision: int) -> set[int]:
        """The items of the batch that have changed or gone since that revision of it."""
        kept, first = self._versions_of(batch)
        own = kept.revisions[first : first + batch.items]
        return {item for item, changed_at in enumerate(own) if changed_at > revision}

    def find_gone(self, batch: PlanBatch) -> set[int]:
        """The items of the batch that are not in the source any more, and whose rows go."""
        kept, first = self._versions_of(batch)
        own = kept.versions[first * VERSION_BYTES : (first + batch.items) * VERSION_BYTES]
        if GONE not in own:
            return set()
        starts = range(0, len(own), VERSION_BYTES)
        return {n for n, at in enumerate(starts) if own[at : at + VERSION_BYTES] == GONE}

    def _versions_of(self, batch: PlanBatch) -> tuple[Versions, int]:
        segment = self.segments[batch.segment]
        kept = self.versions(segment)
        none = Versions(versions=b"", revisions=array("I"))
        return kept or none, batch.first_item - segment.first_ordinal

    def _positions(
        self, batch: PlanBatch, table: pa.RecordBatch | None, start: int, stop: int
    ) -> Sequence[int] | None:
        if self.moved_positions is not None:
            return self.moved_positions[batch.first_item + start : batch.first_item + stop]
        return _slice(table, "position", start, stop)

    def positions(self, start: int, stop: int) -> array[int] | None:
        """Where items `start` to `stop` of the plan were when they were planned; None where their
        number tells it."""
        found = array("q")
        for segment in self.segments:
            for number in range(segment.first_batch, segment.first_batch + segment.batches):
                batch = self.batch(number)
                first, last = (
                    max(start - batch.first_item, 0),
                    min(stop - batch.first_item, batch.items),
                )
                if first >= last:
                    continue
                table = self.columns(batch)
                if table is None or table.schema.get_field_index("position") < 0:
                    return None
                column = table.column("position").slice(first, last - first)
                found.frombytes(column.buffers()[1].slice(column.offset * 8, len(column) * 8))
        return found

    def key_column(self, batch: PlanBatch) -> pa.Array:
        """The keys of a batch, as they stand in the output: texts, or ordinals."""
        if self.segments[batch.segment].is_keyed:
            table = self.columns(batch)
            if table is not None:
                return table.column("key")
        from batten.rows.arrays import integers

        return integers(range(batch.first_item, batch.first_item + batch.items))

    def key_texts(self, batch: PlanBatch) -> list[str]:
        return [str(key) for key in self.key_column(batch).to_pylist()]

    def _place_of(self, number: int) -> int:
        place = bisect_right(self._first_batches, number) - 1
        while (
            place >= 0 and number >= self.segments[place].first_batch + self.segments[place].batches
        ):
            place -= 1
        if place < 0:
            raise IndexError(f"the plan has no batch {number}")
        return place

    def columns(self, batch: PlanBatch) -> pa.RecordBatch | None:
        """The `key`, `position` and `value` of each item, as far as the source needs them; None
        where ordinals tell all."""
        segment = self.segments[batch.segment]
        if not segment.keys_size:
            return None
        try:
            return self._open(segment.number).read(batch.index)
        except (Unreadable, OSError) as error:
            name = self.layout.segment_keys(segment.number, segment.keys_digest)
            if isinstance(error, OSError) and error.errno != errno.ENOENT:
                raise reading_failure(error, "Reading", name) from error
            raise CorruptError(
                f"The plan can't be read: {name}: {error}.",
                safe="Nothing was changed.",
                next=f"Restore {name} from a copy; to see what else is damaged: "
                + command("verify", f"{self.storage.place}/{self.layout.output}"),
            ) from error

    def _open_segment(self, number: int) -> PlanFile:
        segment = self.segments[number]
        name = self.layout.segment_keys(number, segment.keys_digest)
        return PlanFile(self.storage.read(name, bytes_max=segment.keys_size), segment)


def _slice(table: pa.RecordBatch | None, name: str, start: int, stop: int) -> list[Any] | None:
    if table is None or table.schema.get_field_index(name) < 0:
        return None
    values: list[Any] = table.column(name).slice(start, stop - start).to_pylist()
    return values
