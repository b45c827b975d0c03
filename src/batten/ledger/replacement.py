"""One dataset takes the place of another, in one step for readers (decision 0016).

A reader may look at any moment, and must find the old dataset or the new one, whole. But a dataset
is two folders of many files. So the new one is made whole where nobody looks, and its data folder
and the old one exchange their names by one system call. What must not happen is that a crash leaves
new data with old records. That is why a journal comes first.

The new one is made whole in `fresh/` of the old one's control folder. When it is complete, a
journal says so. From then on the replacement is only rolled forward. The data folders exchange
their names. The files about the new data take the place of those about the old. Then the old
dataset goes. What is not batten's goes to `set-aside/`; what was there before stays. Each step can
be repeated, so it may be killed anywhere.
"""

from __future__ import annotations

from batten.errors import CorruptError
from batten.model.disk.names import Layout, find_part
from batten.model.disk.records import (
    CommitRecord,
    Completion,
    Replacing,
    Unreadable,
    decode_record,
    encode_record,
)
from batten.storage.base import Entry, Folder, Store, describe_kind
from batten.storage.changing.publishing import create
from batten.storage.changing.setting_aside import is_same, set_aside
from batten.storage.digests import digest_file
from batten.storage.relative import folder_of, last_piece

KEPT = (
    *("lock", "fresh", "REPLACING", "UNSYNCED", "staging", "set-aside", "parts", "deliveries"),
    *("files", "RESULT.parquet", "workers"),
)
"""What in a control folder is of the place and not of the dataset."""

OWN = (
    *("dataset.json", "schema.json", "plan", "staged", "quarantine", "commits", "recompute"),
    *("runs", "COMPLETE", "made"),
)
"""What in a control folder is of the dataset."""

_AGAIN = "~"
"""Ends the name of what was moved to a place before."""


def replace_dataset(storage: Folder, layout: Layout, *, run: str, time: str) -> None:
    """Put the complete dataset of `layout.fresh` in the place of the one of `layout`. Under the
    lock."""
    fresh = layout.fresh
    entries = [last_piece(entry.name) for entry in storage.list(fresh.control)]
    journal = Replacing(
        entries=sorted(entry for entry in entries if entry not in KEPT), run=run, time=time
    )
    create(storage, layout.staging, layout.replacing, encode_record(journal))
    roll_forward(storage, layout)


def roll_forward(storage: Folder, layout: Layout) -> bool:
    """Finish a replacement that a crash interrupted; whether there was one. Under the lock. Raises
    `CorruptError` if what it needs is gone or can't be read."""
    if storage.find(layout.replacing) is None:
        return False
    try:
        journal = load_journal(storage, layout)
        _exchange_data(storage, layout, journal)
    except (FileNotFoundError, Unreadable) as error:
        gone = isinstance(error, FileNotFoundError)
        raise CorruptError(
            f"{layout.replacing} can't be rolled forward: "
            f"{'a file of the new dataset is gone' if gone else error}.",
            safe="Nothing was deleted; the old and the new dataset are both there.",
            next=f"Look at {layout.fresh_folder} and {layout.output} by hand; when one of the two "
            f"is as you want it, move {layout.replacing} away.",
        ) from error
    _move_entries(storage, layout, journal)
    _keep_foreign(storage, layout, journal)
    storage.delete_tree(layout.fresh_folder)
    storage.sync_names(layout.control)
    storage.delete(layout.replacing)
    storage.sync_names(layout.control)
    return True


def load_journal(storage: Store, layout: Layout) -> Replacing:
    """The journal, held against what is there. Reads only. Raises `Unreadable` if batten can't have
    written it: such a journal would move the files about the dataset away, and put nothing there.
    """
    journal = decode_record(Replacing, storage.read(layout.replacing))
    entries = set(journal.entries)
    if missing := sorted(_NEEDED - entries):
        raise Unreadable(f"it does not name {missing[0]!r}, which every dataset has")
    if odd := sorted(entry for entry in entries if entry in KEPT or "/" in entry):
        raise Unreadable(f"it names {odd[0]!r}, which is not of a dataset")
    for folder in (layout.fresh_folder, layout.fresh.control, layout.replaced_folder):
        entry = storage.find(folder)
        if entry is not None and not entry.is_folder:
            raise Unreadable(f"{folder} is {describe_kind(entry)}, where a folder should be")
    present = {last_piece(entry.name) for entry in storage.list(layout.fresh.control)}
    present.update(last_piece(entry.name) for entry in storage.list(layout.control))
    if absent := sorted(entries - present):
        raise Unreadable(f"it names {absent[0]!r}, and there is no such file")
    return journal


_NEEDED = frozenset({"dataset.json", "plan", "commits", "COMPLETE"})
"""What is about every complete dataset."""


def _exchange_data(storage: Folder, layout: Layout, journal: Replacing) -> None:
    """Entries move only when the exchange is durable, so it is done where all are there yet."""
    fresh = layout.fresh
    present = {last_piece(entry.name) for entry in storage.list(fresh.control)}
    if present.issuperset(journal.entries) and not _is_exchanged(storage, layout):
        if storage.find(layout.data) is None:
            storage.replace(fresh.data, layout.data)
        else:
            storage.exchange(fresh.data, layout.data)
    # Where neither has parts there is nothing to tell them apart by, nor to exchange.
    storage.ensure_folder(layout.data)
    storage.sync_names(folder_of(layout.data))


def _move_entries(storage: Folder, layout: Layout, journal: Replacing) -> None:
    """First what is about the old data moves out, then what is about the new data moves in."""
    control, fresh, replaced = layout.control, layout.fresh.control, layout.replaced_folder
    storage.ensure_folder(replaced)
    storage.ensure_folder(fresh)
    present = {last_piece(entry.name): entry for entry in storage.list(fresh)}
    for entry in list(storage.list(control)):
        name = last_piece(entry.name)
        if name in KEPT or (name in journal.entries and name not in present):
            continue
        new = present.get(name)
        is_like = new is not None and entry.is_file and new.is_file
        if new is None or not is_like or not is_same(storage, entry.name, new.name):
            _move(storage, entry, f"{replaced}/{name}")
    storage.sync_names(replaced)
    storage.sync_names(control)
    for name in sorted(set(journal.entries).intersection(present)):
        _move(storage, present[name], f"{control}/{name}")
    storage.sync_names(control)
    storage.sync_names(fresh)


def _keep_foreign(storage: Folder, layout: Layout, journal: Replacing) -> None:
    """Before the rest goes, keep what is not batten's, and what either dataset had set aside."""
    kept = [(entry, "") for entry in storage.list(layout.fresh.set_aside)]
    kept += [
        (entry, f"{journal.run}-")
        for entry in storage.list(layout.fresh.data)
        if entry.is_folder or find_part(last_piece(entry.name)) is None
    ]
    kept += [
        (entry, f"{journal.run}-control-")
        for entry in storage.list(layout.replaced_folder)
        if last_piece(entry.name).rstrip(_AGAIN) not in OWN
    ]
    if kept:
        storage.ensure_folder(layout.set_aside)
        for entry, prefix in kept:
            _move(storage, entry, f"{layout.set_aside}/{prefix}{last_piece(entry.name)}")
        storage.sync_names(layout.set_aside)


def _move(storage: Folder, entry: Entry, to: str) -> None:
    """A power cut may have left a folder under both names, or at the new one what was deleted."""
    while _is_taken(storage, entry, to):
        to += _AGAIN
    # A link or a pipe can be moved, and not looked into.
    if entry.is_file and storage.find(entry.name) is not None:
        set_aside(storage, entry.name, to)
    else:
        storage.replace(entry.name, to)


def _is_taken(storage: Folder, entry: Entry, to: str) -> bool:
    there = storage.find(to)
    if there is None or storage.find(entry.name) is None:
        return False
    return not (entry.is_file and there.is_file) or not is_same(storage, entry.name, to)


def _is_exchanged(storage: Folder, layout: Layout) -> bool:
    """Whether the data folder holds the new parts, by their sizes and digests."""
    fresh = layout.fresh
    sizes = decode_record(Completion, storage.read(fresh.complete)).part_sizes
    found = {
        batch: entry.size
        for entry in storage.list(layout.data)
        if (batch := find_part(last_piece(entry.name))) is not None
    }
    if found != dict(enumerate(sizes)):
        return False
    for batch in range(len(sizes)):
        record = decode_record(CommitRecord, storage.read(fresh.commit(batch)))
        if digest_file(storage, layout.part(batch)) != record.digest:
            return False
    return True
