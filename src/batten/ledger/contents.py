"""What a complete dataset holds: its parts, and the records of its batches.

On a folder there is one `COMPLETE`. In a store without a lock it bears in its name what it
completes, and a record that of its part (decision 0081). So the plan and the parts are looked at
first, and what belongs to them is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import repeat, tee

from batten.errors import CorruptError
from batten.ledger.facts.batches.listed_parts import PartVersions, list_parts
from batten.ledger.facts.revised import list_revised
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.destinations.tokens import digest_of_all
from batten.model.disk.names import Layout, find_number, find_part
from batten.model.disk.published import Published, decode_published
from batten.model.disk.records import Completion, Segment, Unreadable, decode_record
from batten.model.telling.commands import command
from batten.model.value_class import value_class
from batten.storage.base import Entry, Store
from batten.storage.relative import last_piece


@value_class
class ClosedDataset:
    """Of a dataset whose accounts are closed. `state` stands for the record of that; `versions` are
    those of the parts in a store, and None in a folder."""

    completion: Completion
    state: str
    versions: PartVersions | None = None

    @property
    def batches(self) -> int:
        """How many there are."""
        return len(self.completion.part_sizes)


def find_contents(storage: Store, layout: Layout) -> ClosedDataset | None:
    """None where the accounts are not closed. Raises `StorageError` and `Unreadable`."""
    versions = list_versions(storage, layout) if layout.is_shared else None
    plan = list(storage.list(layout.plan)) if layout.is_shared else []
    try:
        segments = _load_segments(storage, layout, plan)
        revised = list_revised(layout, plan, segments)
        name = layout.complete_of(len(segments), versions.in_order() if versions else (), revised)
        data = storage.read(name, bytes_max=RECORD_BYTES_MAX["completion"])
    except FileNotFoundError:
        return None  # In a store its plan goes, too, where another one takes its place meanwhile.
    completion = decode_record(Completion, data)
    return ClosedDataset(
        completion=completion, state=hashlib.sha256(data).hexdigest(), versions=versions
    )


def load_commits(
    storage: Store, layout: Layout, contents: ClosedDataset, path: str
) -> Iterator[Published]:
    """The commit records of all batches, in order; `path` is the output, for messages. Raises
    `CorruptError` where one can't be read."""
    versions = contents.versions.in_order() if contents.versions else repeat("", contents.batches)
    names, asked = tee(layout.commit(batch, of) for batch, of in enumerate(versions))
    found = storage.read_each(layout.commits, map(last_piece, asked))
    for name, data in zip(names, found, strict=True):
        yield _load(storage, name, path, data)


def load_commit(
    storage: Store,
    layout: Layout,
    batch: int,
    path: str,
    *,
    of: str = "",
    is_reopened: bool = False,
) -> Published:
    """The commit record of a published batch, whose part is `of` this version in a store; or the
    marker that it became when the batch was reopened. `path` is the output, for messages."""
    name = layout.recomputed(batch) if is_reopened else layout.commit(batch, of)
    return _load(storage, name, path)


def digest_contents(storage: Store, layout: Layout, contents: ClosedDataset, path: str) -> str:
    """Stands for the bytes of all parts."""
    records = load_commits(storage, layout, contents, path)
    return digest_of_all(str(record.digest) for record in records)


def _load(storage: Store, name: str, path: str, data: bytes | None = None) -> Published:
    try:
        return decode_published(storage.read(name) if data is None else data)
    except (FileNotFoundError, Unreadable) as error:
        raise CorruptError(
            f"{name} can't be read: {error}.",
            safe="Nothing was changed.",
            next=f"See what else is damaged: {command('verify', path)}",
        ) from error


def _load_segments(storage: Store, layout: Layout, plan: Iterable[Entry]) -> list[Segment]:
    names = [last_piece(entry.name) for entry in plan]
    records = [name for name in names if find_number(name, "json") is not None]
    found = storage.read_each(layout.plan, records)
    return [
        decode_record(Segment, storage.read(f"{layout.plan}/{name}") if data is None else data)
        for name, data in zip(records, found, strict=True)
    ]


def list_versions(storage: Store, layout: Layout) -> PartVersions:
    """Those of the parts that are there, in a store."""
    _, versions = list_parts(
        (batch, entry.size, entry.version)
        for entry in storage.list(layout.data)
        if entry.is_file and (batch := find_part(last_piece(entry.name))) is not None
    )
    return versions
