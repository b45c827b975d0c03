"""Commit records: made again where a crash left none, and put aside where parts are withdrawn.

A run and `batten recover` do so alike, under the lock, before anything else. Each step may be
killed anywhere and repeated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from batten.errors import CorruptError
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.footer import decode_part
from batten.model.disk.names import Layout
from batten.model.disk.outcomes import count_outcomes
from batten.model.disk.published import decode_published, fields_of
from batten.model.disk.records import CommitRecord, Unreadable, encode_record
from batten.model.telling.commands import command
from batten.model.words import Outcome
from batten.storage.base import Folder, Store
from batten.storage.changing.publishing import create_many, sync_names
from batten.storage.changing.setting_aside import set_aside_many
from batten.storage.digests import digest_file


def rebuild_records(
    storage: Store, layout: Layout, batches: Iterable[int], *, run: str, time: str
) -> list[CommitRecord]:
    """Commit records for parts that have none, from what the parts say of themselves.

    The parts are made durable first: a crash may have come between their appearance and that."""
    found = [_describe_part(storage, layout, batch, run, time) for batch in batches]
    if found:
        sync_names(storage, [layout.data])
        create_many(
            storage,
            layout.staging,
            [
                (layout.commit(record.batch, version), encode_record(record))
                for record, version in found
            ],
        )
    return [record for record, _ in found]


def _describe_part(
    storage: Store, layout: Layout, batch: int, run: str, time: str
) -> tuple[CommitRecord, str]:
    """Its record, and the version of the part that it describes."""
    name = layout.part(batch)
    data, version = storage.get(name, bytes_max=None)
    try:
        described = decode_part(data)
    except Unreadable as error:
        raise CorruptError(
            f"{name} has no commit record, and can't be read: {error}.",
            safe="Nothing was changed.",
            next="Restore it from a copy, or have it computed again: "
            + command("recover", "--recompute-missing", f"{storage.place}/{layout.output}"),
        ) from error
    digest, quarantine = hashlib.sha256(data).hexdigest(), ""
    if count_outcomes(described.outcomes)[Outcome.QUARANTINED]:
        quarantine = hashlib.sha256(
            storage.read(
                layout.quarantined(batch, digest), bytes_max=RECORD_BYTES_MAX["quarantine"]
            )
        ).hexdigest()
    record = CommitRecord(
        **fields_of(described),
        size=len(data),
        digest=digest,
        quarantine_digest=quarantine,
        run=run,
        time=time,
        format_version=described.format_version,
    )
    return record, version


def retire_earlier(storage: Folder, layout: Layout, batches: Iterable[int], *, run: str) -> None:
    """Keep as evidence what is left of an earlier try at batches that are published and recorded
    again: the quarantine files, where no item failed this time, and then the markers."""
    tried = list(batches)
    now_whole = [
        batch
        for batch in tried
        if not decode_published(storage.read(layout.commit(batch))).quarantine_digest
    ]
    _retire(storage, layout, map(layout.quarantined, now_whole), run=run)
    _retire(storage, layout, map(layout.recomputed, tried), run=run)


def _retire(storage: Folder, layout: Layout, names: Iterable[str], *, run: str) -> None:
    """Those of the files that are there."""
    moves = []
    for name in names:
        if storage.find(name) is not None:
            what = name.removeprefix(layout.control + "/").replace("/", "-")
            moves.append((name, f"{layout.set_aside}/{run}-{what}"))
    if moves:
        storage.ensure_folder(layout.set_aside)
        set_aside_many(storage, moves)


def withdraw_parts(storage: Folder, layout: Layout, batches: Iterable[int]) -> None:
    """Stage parts again that appeared before their turn, to be adopted when it comes."""
    moves = []
    for batch in batches:
        name = layout.part(batch)
        digest = digest_file(storage, name)
        moves.append((name, layout.staged_file(batch, "sealed", digest)))
    set_aside_many(storage, moves)
