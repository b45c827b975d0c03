"""What nobody will use is found in a folder for throwaway files, and cleared away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from batten.model.disk.names import Layout
from batten.model.disk.throwaway_names import is_workroom
from batten.storage.base import Entry, Store
from batten.storage.changing.publishing import delete, sync_names
from batten.storage.relative import last_piece


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
