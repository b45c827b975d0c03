"""One dataset takes the place of another, in one step for readers.

The new one is made whole in `fresh/` of the old one's control folder. When it is complete, a
journal says so; from then on the replacement is only ever rolled forward: the data folders exchange
their names, the files about the new data take the place of those about the old, and the old goes.
Each step can be repeated, so it may be killed anywhere.
"""

from __future__ import annotations

import hashlib

from batten.errors import CorruptError
from batten.model.names import Layout, find_part
from batten.model.records import (
    CommitRecord,
    Completion,
    Replacing,
    Unreadable,
    decode_record,
    encode_record,
)
from batten.storage.base import Entry, Storage
from batten.storage.publishing import create
from batten.storage.relative import folder_of, last_piece

KEPT = ("lock", "fresh", "REPLACING", "staging")
"""What in a control folder is of the place and not of the dataset."""


def replace_dataset(storage: Storage, layout: Layout, *, run: str, time: str) -> None:
    """Put the complete dataset of `layout.fresh` in the place of the one of `layout`. Under the
    lock."""
    fresh = layout.fresh
    entries = [last_piece(entry.name) for entry in storage.list(fresh.control)]
    journal = Replacing(
        entries=sorted(entry for entry in entries if entry not in KEPT), run=run, time=time
    )
    create(storage, layout.staging, layout.replacing, encode_record(journal))
    roll_forward(storage, layout)


def roll_forward(storage: Storage, layout: Layout) -> bool:
    """Finish a replacement that a crash interrupted; whether there was one. Under the lock."""
    try:
        journal = decode_record(Replacing, storage.read(layout.replacing))
    except FileNotFoundError:
        return False
    except Unreadable as error:
        raise CorruptError(
            f"{layout.replacing} can't be read: {error}.",
            safe="Nothing was changed; the old and the new dataset are both there.",
            next=f"Look at {layout.fresh_folder}; when one of the two is as you want it, "
            f"move {layout.replacing} away.",
        ) from error
    fresh = layout.fresh
    present = {last_piece(entry.name) for entry in storage.list(fresh.control)}
    # Entries move only when the exchange is durable.
    if present.issuperset(journal.entries) and not _is_exchanged(storage, layout):
        if storage.find(layout.output) is None:
            storage.replace(fresh.output, layout.output)
        else:
            storage.exchange(fresh.output, layout.output)
    # Where neither has parts there is nothing to tell them apart by, nor to exchange.
    storage.ensure_folder(layout.output)
    storage.sync_names(folder_of(layout.output))
    _move_entries(storage, layout, journal)
    delete_tree(storage, layout.fresh_folder)
    storage.sync_names(layout.control)
    storage.delete(layout.replacing)
    storage.sync_names(layout.control)
    return True


def _move_entries(storage: Storage, layout: Layout, journal: Replacing) -> None:
    """First what is about the old data moves out, then what is about the new data moves in."""
    control, fresh, replaced = layout.control, layout.fresh.control, layout.replaced_folder
    storage.ensure_folder(replaced)
    storage.ensure_folder(fresh)
    present = {last_piece(entry.name): entry for entry in storage.list(fresh)}
    for entry in list(storage.list(control)):
        name = last_piece(entry.name)
        if name not in KEPT and (name in present or name not in journal.entries):
            _move(storage, entry, f"{replaced}/{name}")
    storage.sync_names(replaced)
    storage.sync_names(control)
    for name in sorted(set(journal.entries).intersection(present)):
        _move(storage, present[name], f"{control}/{name}")
    storage.sync_names(control)
    storage.sync_names(fresh)


def _move(storage: Storage, entry: Entry, to: str) -> None:
    """A power cut may have left a file both names; renaming one to the other then does nothing."""
    storage.replace(entry.name, to)
    if not entry.is_folder:
        storage.delete(entry.name)


def _is_exchanged(storage: Storage, layout: Layout) -> bool:
    """Whether the data folder holds the new parts, by their sizes and digests."""
    fresh = layout.fresh
    sizes = decode_record(Completion, storage.read(fresh.complete)).part_sizes
    found = {
        batch: entry.size
        for entry in storage.list(layout.output)
        if (batch := find_part(last_piece(entry.name))) is not None
    }
    if found != dict(enumerate(sizes)):
        return False
    for batch in range(len(sizes)):
        record = decode_record(CommitRecord, storage.read(fresh.commit(batch)))
        if hashlib.sha256(storage.read(layout.part(batch))).hexdigest() != record.digest:
            return False
    return True


def delete_tree(storage: Storage, name: str) -> None:
    """Delete a file, or a folder with all that is in it; also when it is not there."""
    entry = storage.find(name)
    if entry is None:
        return
    if entry.is_folder:
        for inner in list(storage.list(name)):
            delete_tree(storage, inner.name)
    storage.delete(name)
