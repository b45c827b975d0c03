"""Making and extending the plan: one look at the source, what is new goes to the end."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from typing import Any

from batten.errors import CorruptError
from batten.ledger.guarded import carry_out
from batten.ledger.plan_file import VALUE
from batten.model.disk.key_digests import describe_keys
from batten.model.disk.names import Layout
from batten.model.disk.records import Segment, encode_record
from batten.model.disk.row_digests import seal_digests
from batten.model.rules.guards import PLANNING, Thing
from batten.model.telling.commands import command
from batten.model.words import FORMAT_OF_VALUES, FORMAT_VERSION
from batten.plan.key_index import KeyIndex
from batten.plan.plan import Plan
from batten.plan.same_keys import PlannedKeys
from batten.plan.same_rows import PlannedRows, refuse_shrunk
from batten.sources.base import ScanBlock, Source
from batten.sources.digests import split_digests
from batten.storage.base import Put, Store
from batten.storage.publishing import create, create_many, put_aside

SEGMENT_ITEMS = 1 << 16
"""At most about so many items go into one segment, since it is made in memory."""

SEGMENT_BYTES = 1 << 25
"""A segment ends with the batch in which its payloads reach this size."""

DUPLICATE_EXAMPLES = 10

Row = tuple[str | None, int | None, bytes | None, bytes | None]
"""Key, position, payload, digest."""


@dataclass
class SourceLook:
    """What a look at the source found, besides the new items it yields. `positions` are those
    of all planned items, where the source has moved some of them; `unproven` the digests of
    segments of which an earlier batten kept none. `ways_on` says how to compute all anew."""

    ways_on: str

    seen: int = 0
    duplicates: int = 0
    examples: list[str] = field(default_factory=list)
    vanished: int = 0
    is_limited: bool = False
    positions: array[int] | None = None
    unproven: dict[int, bytearray] = field(default_factory=dict)
    between_blocks: Callable[[], None] = lambda: None


def count_new_items(source: Source, plan: Plan, limit: int | None, *, ways_on: str) -> int:
    """How many items a plan would gain now. Writes nothing; raises as `extend_plan` does."""
    return sum(1 for _ in _new_rows(source, plan, limit, SourceLook(ways_on=ways_on)))


def extend_plan(
    storage: Store,
    layout: Layout,
    source: Source,
    plan: Plan,
    batch_size: int,
    *,
    limit: int | None = None,
    ways_on: str,
    before_change: Callable[[], None],
    between_blocks: Callable[[], None] = lambda: None,
) -> tuple[Plan, SourceLook]:
    """The plan with all items of the source in it, and what was seen.

    Durable when it returns. A crash in the middle leaves a shorter plan, which the next call
    extends to the same. Items are never taken out: a key that the source no longer has is
    counted as vanished and kept. Without keys, a source that did not only grow raises
    `SourceDiffersError`, in which `ways_on` says how to compute all anew. With a `limit`, the
    plan holds at most so many items. `before_change` is called before anything is written,
    `between_blocks` now and then: what it raises ends the planning.
    """
    look = SourceLook(ways_on=ways_on, between_blocks=between_blocks)
    storing = _Storing(storage, layout, before_change)
    count = source.count_items()
    if count is not None and source.is_counted:
        segments = _extend_by_count(storing, plan, batch_size, count, limit, look)
        return Plan(storage, layout, segments), look
    rows = _new_rows(source, plan, limit, look)
    segments = list(plan.segments)
    per_segment = max(batch_size, SEGMENT_ITEMS // batch_size * batch_size)
    while taken := _take(rows, per_segment, batch_size):
        segment, data = _encode_segment(segments, taken, batch_size, look, source.is_keyed)
        storing.store(segment, data, b"".join([row[3] or b"" for row in taken]))
        segments.append(segment)
    for number, digests in look.unproven.items():
        storing.prove(number, digests)
    last = segments[-1] if segments else None
    look.duplicates = max(look.duplicates, plan.duplicates)
    if last is None or (last.duplicates, last.is_limited) != (look.duplicates, look.is_limited):
        segment, data = _encode_segment(segments, [], batch_size, look, source.is_keyed)
        storing.store(segment, data)
        segments.append(segment)
    extended = Plan(storage, layout, segments)
    if look.positions is not None:
        for number in range(plan.batches, extended.batches):
            batch = extended.batch(number)
            look.positions.extend(extended.wanted(batch, 0, batch.items).positions or ())
        extended.moved_positions = look.positions
    return extended, look


def _extend_by_count(
    storing: _Storing,
    plan: Plan,
    batch_size: int,
    count: int,
    limit: int | None,
    look: SourceLook,
) -> list[Segment]:
    look.seen = count
    refuse_shrunk(plan, count, look.ways_on)
    target = count if limit is None else max(plan.items, min(limit, count))
    look.is_limited = target < count
    segments = list(plan.segments)
    if target > plan.items or not segments or plan.is_limited != look.is_limited:
        segment = _make_segment(segments, target - plan.items, batch_size, look, is_keyed=False)
        storing.store(segment, b"")
        segments.append(segment)
    return segments


def _new_rows(source: Source, plan: Plan, limit: int | None, look: SourceLook) -> Iterator[Row]:
    """The items that the plan does not have, in the order of the source; fills in `look`."""
    find_new = _find_new_keyed if source.is_keyed else _find_new_ordinals
    planned = plan.items
    for row in find_new(source, plan, look):
        if limit is not None and planned >= limit:
            look.is_limited = True
            return
        planned += 1
        yield row


def _scan(source: Source, look: SourceLook) -> Iterator[ScanBlock]:
    for block in source.scan():
        look.between_blocks()
        look.seen += block.count
        yield block


def _rows_of(block: ScanBlock) -> Iterator[Row]:
    nothing = [None] * block.count
    return zip(
        block.keys or nothing,
        block.positions or nothing,
        block.payloads or nothing,
        nothing if block.digests is None else split_digests(block.digests),
        strict=True,
    )


def _find_new_ordinals(source: Source, plan: Plan, look: SourceLook) -> Iterator[Row]:
    planned = PlannedRows(plan, source.identity["source"], look.ways_on)
    for block in _scan(source, look):
        known = planned.take(block)
        look.positions, look.unproven = planned.positions, planned.unproven
        if known < block.count:
            yield from islice(_rows_of(block), known, None)
    planned.end()


def _find_new_keyed(source: Source, plan: Plan, look: SourceLook) -> Iterator[Row]:
    """While the source and the plan agree key by key, nothing is remembered; from the first
    difference on, an index of all planned keys tells new ones from known and repeated ones."""
    same, rows = _skip_same(_scan(source, look), plan)
    pending = next(rows, None)
    if pending is None:
        look.vanished = plan.items - same
        return
    index = KeyIndex()
    positions = array("q")
    for planned_key, position in _planned_rows(plan):
        index.add(planned_key)
        positions.append(-1 if position is None else position)
    has_positions = pending[1] is not None
    found = same
    is_found = bytearray(plan.items)
    row_or_none: Row | None = pending
    while row_or_none is not None:
        key = row_or_none[0] or ""
        known = index.add(key)
        if known is None:
            yield row_or_none
        elif known >= plan.items or known < same or is_found[known]:
            look.duplicates += 1
            if len(look.examples) < DUPLICATE_EXAMPLES:
                look.examples.append(key)
        else:
            is_found[known] = True
            found += 1
            if has_positions and positions[known] != row_or_none[1]:
                positions[known] = row_or_none[1] or 0
                look.positions = positions
        row_or_none = next(rows, None)
    look.vanished = plan.items - found


def _skip_same(blocks: Iterator[ScanBlock], plan: Plan) -> tuple[int, Iterator[Row]]:
    """In how many items source and plan agree, and the rows of the source from there on. Whole
    blocks are compared at once."""
    planned = PlannedKeys(plan)
    same = 0
    for block in blocks:
        if planned.match(block):
            same += block.count
            continue
        known = islice(_planned_rows(plan), same, None)
        found = ((row[0], row[1]) for row in _rows_of(block))
        pairs = enumerate(zip_longest(found, islice(known, block.count)))
        differs = next(n for n, (a, b) in pairs if a != b)
        rest = islice(_rows_of(block), differs, None)
        return same + differs, chain(rest, chain.from_iterable(map(_rows_of, blocks)))
    return same, iter(())


def _planned_rows(plan: Plan) -> Iterator[tuple[str, int | None]]:
    for number in range(plan.batches):
        batch = plan.batch(number)
        wanted = plan.wanted(batch, 0, batch.items)
        keys = wanted.keys or ()
        positions: Sequence[int | None] = wanted.positions or [None] * len(keys)
        yield from zip(keys, positions, strict=True)


def _take(rows: Iterator[Row], most: int, batch_size: int) -> list[Row]:
    """The rows of the next segment."""
    taken = []
    size = 0
    for row in rows:
        taken.append(row)
        size += len(row[2] or b"")
        is_whole = len(taken) % batch_size == 0
        if len(taken) == most or (is_whole and size >= SEGMENT_BYTES):
            break
    return taken


def _make_segment(
    before: list[Segment],
    items: int,
    batch_size: int,
    look: SourceLook,
    *,
    is_keyed: bool,
    keys: list[str] | None = None,
    data: bytes | memoryview = b"",
    has_values: bool = False,
) -> Segment:
    return Segment(
        number=len(before),
        first_batch=sum(segment.batches for segment in before),
        first_ordinal=sum(segment.items for segment in before),
        items=items,
        batch_size=batch_size,
        is_keyed=is_keyed,
        duplicates=look.duplicates,
        duplicate_examples=list(look.examples),
        is_limited=look.is_limited,
        keys=keys or [],
        keys_size=len(data),
        keys_digest=hashlib.sha256(data).hexdigest() if len(data) else "",
        format_version=FORMAT_OF_VALUES if has_values else FORMAT_VERSION,
    )


def _encode_segment(
    before: list[Segment], rows: list[Row], batch_size: int, look: SourceLook, is_keyed: bool
) -> tuple[Segment, bytes | memoryview]:
    import pyarrow as pa

    from batten.rows.arrays import integers, large_binaries, texts

    possible: list[tuple[pa.Field, Callable[[list[Any]], pa.Array]]] = [
        (pa.field("key", pa.string()), texts),
        (pa.field("position", pa.int64()), integers),
        (pa.field(VALUE, pa.large_binary()), large_binaries),
    ]
    columns = [
        (place, field, make)
        for place, (field, make) in enumerate(possible)
        if rows and rows[0][place] is not None
    ]
    if not columns:
        return _make_segment(before, len(rows), batch_size, look, is_keyed=is_keyed), b""
    schema = pa.schema([field for _, field, _ in columns])
    sink = pa.BufferOutputStream()
    keys = []
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    with pa.ipc.new_file(sink, schema, options=options) as writer:
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            arrays = [make([row[place] for row in batch]) for place, _, make in columns]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            if is_keyed:
                keys.append(describe_keys(row[0] or "" for row in batch))
    data = memoryview(sink.getvalue())
    segment = _make_segment(
        before,
        len(rows),
        batch_size,
        look,
        is_keyed=is_keyed,
        keys=keys,
        data=data,
        has_values=VALUE in schema.names,
    )
    return segment, data


class _Storing:
    """Stores segments: the keys first, then the record that names them."""

    def __init__(self, storage: Store, layout: Layout, before_change: Callable[[], None]) -> None:
        self._storage = storage
        self._layout = layout
        self._before_change: Callable[[], None] | None = before_change

    def store(self, segment: Segment, data: bytes | memoryview, digests: bytes = b"") -> None:
        """Files of keys and digests without their record are what a crash left before; they are
        made anew."""
        if self._before_change is not None:
            self._before_change()
            self._before_change = None
        storage, layout = self._storage, self._layout
        if storage.folder is None:
            self._store_guarded(segment, data, digests)
            return
        files: list[tuple[str, bytes | memoryview]] = []
        if len(data):
            files.append((layout.segment_keys(segment.number), data))
        if digests:
            files.append((layout.segment_digests(segment.number), seal_digests(digests)))
        for name, _ in files:
            storage.folder.delete(name)
        create_many(storage, layout.staging, files)
        name = layout.segment(segment.number)
        if create(storage, layout.staging, name, encode_record(segment)) is not Put.MADE:
            raise CorruptError(
                f"{name} appeared while the plan was being extended.",
                safe="Nothing was changed.",
                next="Something else writes to the control folder. See what is there: "
                + command("diagnose", f"{storage.place}/{layout.output}"),
            )

    def _store_guarded(
        self, segment: Segment, data: bytes | memoryview, digests: bytes = b""
    ) -> None:
        """Where others may plan at the same time. Digests are of what is there now, whoever took
        them last; what they prove is looked up when the items are read."""
        storage, layout = self._storage, self._layout
        if digests:
            name = layout.segment_digests(segment.number)
            put_aside(storage, layout.staging, name, seal_digests(digests), is_synced=True)
        for step in PLANNING:
            if step.thing is Thing.SEGMENT:
                carry_out(storage, step, layout.segment(segment.number), encode_record(segment))
            elif len(data):
                name = layout.segment_keys(segment.number, segment.keys_digest)
                carry_out(storage, step, name, data)

    def prove(self, number: int, digests: bytes | bytearray) -> None:
        """From now on it is known what the items of this segment are."""
        name = self._layout.segment_digests(number)
        create(self._storage, self._layout.staging, name, seal_digests(bytes(digests)))
