"""Putting what is planned on disk: segments, the digests of rows, the versions of items.

In a store without a lock others may plan at the same time: see decision 0166.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batten.errors import CorruptError
from batten.ledger.files.plan_file import VALUE
from batten.ledger.guarded import carry_out
from batten.model.disk.items.key_digests import describe_keys
from batten.model.disk.items.row_digests import seal_digests
from batten.model.disk.items.versions import Versions, encode_values, encode_versions
from batten.model.disk.names import Layout
from batten.model.disk.records import Segment, encode_record
from batten.model.rules.guards import PLANNING, REVISING, REVISING_FIRST, Thing
from batten.model.telling.commands import command
from batten.model.words import FORMAT_OF_VALUES, FORMAT_VERSION
from batten.plan.plan import Plan
from batten.plan.source_look import SourceLook
from batten.storage.base import Folder, Put
from batten.storage.changing.publishing import create, create_many, put_aside, replace

Row = tuple[str | None, int | None, bytes | None, bytes | None]
"""Key, position, payload, digest."""


def make_segment(
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


def encode_segment(
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
        return make_segment(before, len(rows), batch_size, look, is_keyed=is_keyed), b""
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
    segment = make_segment(
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


def list_beside(layout: Layout, number: int) -> list[str]:
    """What lies beside the record of a segment, and means nothing without it."""
    return [
        layout.segment_keys(number),
        layout.segment_digests(number),
        layout.segment_versions(number),
        layout.segment_values(number),
    ]


class Storing:
    """Stores segments: the keys first, then the record that names them."""

    def __init__(self, plan: Plan, before_change: Callable[[], None]) -> None:
        self._storage, self._layout = plan.storage, plan.layout
        self._segments = list(plan.segments)
        self._before_change: Callable[[], None] | None = before_change
        self.revised = dict(plan.revised)
        self.contested: list[tuple[Segment, bytes]] = []
        """Segments of whose items another run has said something else, and their digests."""

    def store(self, segment: Segment, data: bytes | memoryview, digests: bytes = b"") -> None:
        """Files without their record are what a crash left of a plan before: they go first, since
        this one may not have all of them, and would take what is left for its own."""
        self._begin()
        storage, layout = self._storage, self._layout
        self._segments.append(segment)
        if storage.folder is None:
            self._store_guarded(segment, data, digests)
            return
        files: list[tuple[str, bytes | memoryview]] = []
        if len(data):
            files.append((layout.segment_keys(segment.number), data))
        if digests and segment.is_keyed:
            versions = Versions(versions=digests, revisions=array("I"))
            files.append((layout.segment_versions(segment.number), encode_versions(versions)))
        elif digests:
            files.append((layout.segment_digests(segment.number), seal_digests(digests)))
        self._clear_away(storage.folder, segment.number)
        create_many(storage, layout.staging, files)
        name = layout.segment(segment.number)
        if create(storage, layout.staging, name, encode_record(segment)) is not Put.MADE:
            raise CorruptError(
                f"{name} appeared while the plan was being extended.",
                safe="Nothing was changed.",
                next="Something else writes to the control folder. See what is there: "
                + command("diagnose", f"{storage.place}/{layout.output}"),
            )

    def _clear_away(self, folder: Folder, number: int) -> None:
        names = [
            name for name in list_beside(self._layout, number) if folder.find(name) is not None
        ]
        for name in names:
            folder.delete(name)
        if names:
            folder.sync_names(self._layout.plan)

    def _store_guarded(self, segment: Segment, data: bytes | memoryview, digests: bytes) -> None:
        """Where others may plan at the same time. Digests are of what is there now, whoever took
        them last; what they prove is looked up when the items are read."""
        storage, layout = self._storage, self._layout
        if digests and not segment.is_keyed:
            name = layout.segment_digests(segment.number)
            put_aside(storage, layout.staging, name, seal_digests(digests), is_synced=True)
        for step in PLANNING:
            if step.thing is Thing.SEGMENT:
                carry_out(storage, step, layout.segment(segment.number), encode_record(segment))
            elif step.thing is Thing.KEYS and len(data):
                name = layout.segment_keys(segment.number, segment.keys_digest)
                carry_out(storage, step, name, data)
            elif step.thing is Thing.VERSIONS and digests and segment.is_keyed:
                name = layout.segment_versions(segment.number, segment.keys_digest)
                versions = Versions(versions=digests, revisions=array("I"))
                answer = carry_out(storage, step, name, encode_versions(versions))
                self.revised[name] = answer.version
                if answer.put is Put.OTHER:
                    self.contested.append((segment, digests))

    def _begin(self) -> None:
        if self._before_change is not None:
            self._before_change()
            self._before_change = None

    def revise(self, number: int, versions: Versions, *, is_change: bool) -> None:
        """From now on these versions of the items of the segment are wanted; without a change,
        these are known."""
        if is_change:
            self._begin()
        name = self._layout.segment_versions(number, self._segments[number].keys_digest)
        self._replace(Thing.VERSIONS, name, encode_versions(versions))

    def revise_values(self, number: int, values: Mapping[int, bytes]) -> None:
        """From now on these are the items of the segment that have changed since it was planned."""
        self._begin()
        name = self._layout.segment_values(number, self._segments[number].keys_digest)
        self._replace(Thing.VALUES, name, encode_values(values))

    def _replace(self, thing: Thing, name: str, data: bytes) -> None:
        if self._storage.folder is not None:
            replace(self._storage, self._layout.staging, name, data)
            return
        seen = self.revised.get(name, "")
        for step in REVISING if seen else REVISING_FIRST:
            if step.thing is thing:
                self.revised[name] = carry_out(self._storage, step, name, data, seen=seen).version

    def prove(self, number: int, digests: bytes | bytearray) -> None:
        """From now on it is known what the items of this segment are."""
        name = self._layout.segment_digests(number)
        create(self._storage, self._layout.staging, name, seal_digests(bytes(digests)))


def delete_segments(storage: Folder, layout: Layout, segments: Sequence[Segment]) -> None:
    """Take the last segments out of the plan, from the end: what a crash leaves is a shorter plan.
    Nothing of them may be published or staged."""
    for segment in reversed(segments):
        storage.delete(layout.segment(segment.number))
        storage.sync_names(layout.plan)
        for name in list_beside(layout, segment.number):
            storage.delete(name)
