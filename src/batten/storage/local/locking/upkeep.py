"""What a run and `batten recover` do alike, under the lock, before anything else.

They complete what a crash left half told, and clear away what nobody will use. Each step may be
killed anywhere and repeated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from batten.errors import BusyError, CorruptError
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.footer import decode_part
from batten.model.disk.names import CONTROL_SUFFIX, Layout
from batten.model.disk.outcomes import count_outcomes
from batten.model.disk.published import decode_published, fields_of
from batten.model.disk.records import CommitRecord, Unreadable, encode_record
from batten.model.disk.runs.holders import Holder
from batten.model.disk.throwaway_names import is_workroom
from batten.model.telling.commands import command
from batten.model.words import Outcome
from batten.storage.base import Entry, Folder, Lock, Store
from batten.storage.changing.publishing import create_many, delete, sync_names
from batten.storage.changing.setting_aside import set_aside_many
from batten.storage.digests import digest_file
from batten.storage.local.locking.locks import busy_error, current_holder
from batten.storage.machine import Machine
from batten.storage.relative import last_piece


def take_lock(storage: Store, layout: Layout, output: str) -> Lock:
    """The lock of an output, which a message calls `output`. Raises `BusyError`."""
    try:
        return storage.lease(layout.lock, _describe_self())
    except BusyError:
        raise busy_error(output + CONTROL_SUFFIX, storage.observe_lock(layout.lock)) from None


def _describe_self() -> Holder:
    """This process, with what the kernel has counted so far. A run that is killed while it plans
    leaves nothing else."""
    kills = Machine().count_memory_kills()
    counted = {"in_group": kills.in_group, "on_machine": kills.on_machine}
    return replace(
        current_holder(),
        memory_group=kills.group,
        memory_kills={name: count for name, count in counted.items() if count is not None},
    )


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


def find_throwaway(
    storage: Store, staging: str, is_ours: Callable[[str], object]
) -> Iterator[Entry]:
    """The files in a folder for throwaway ones that have names of batten's: no others may be
    deleted."""
    for entry in storage.list(staging):
        if entry.is_file and is_ours(last_piece(entry.name)):
            yield entry


def delete_orphans(storage: Store, names: Iterable[str]) -> None:
    """Delete throwaway files that no live run owns, and folders that functions wrote in."""
    for name in names:
        if storage.folder is not None and is_workroom(last_piece(name)):
            storage.folder.delete_tree(name)
        else:
            delete(storage, name)


def delete_staged_orphans(storage: Store, layout: Layout, names: Iterable[str]) -> None:
    """The same of a dataset, where what is staged may have become a part. A run that was killed may
    not have come to make that durable, and a power cut would take both."""
    orphans = list(names)
    is_staged = any(name.startswith(f"{layout.staged}/") for name in orphans)
    if is_staged and storage.find(layout.data) is not None:
        sync_names(storage, [layout.data])
    delete_orphans(storage, orphans)
