"""Looks at folders of files by the values of columns: whether they hold what was put there."""

from __future__ import annotations

import os

from batten.lookup.telling_lacks import Found, find_mode
from batten.model.disk.destinations.delivery import Delivery
from batten.model.rules.findings import Code
from batten.model.telling.sizes import tell_other_size
from batten.sinks.files.hive import digest_listing, list_files
from batten.storage.digests import find_digest
from batten.storage.local.folder import LocalStorage
from batten.storage.relative import last_piece

_SUFFIXES = (".parquet", ".parq", ".pq")


def look_at_hive(place: str, given: Delivery, *, is_thorough: bool, is_closed: bool) -> Found:
    """By the names and sizes of its files; a thorough look reads them all. Before the accounts are
    closed the folder may still be the one that is replaced, whole: the record comes first."""
    path = given.where.locate(place)
    storage = LocalStorage(os.path.dirname(path))
    folder = os.path.basename(path)
    if not is_closed and digest_listing(list_files(storage, folder)) == given.replaces:
        return
    if not find_mode(path):
        if given.files:
            yield Code.LOST_FILE, "the folder is gone"
        return
    there: dict[str, int] = {}
    yield from _list_there(storage, folder, given, there)
    for name, told in given.files.items():
        size, _, digest = told.partition(" ")
        if name not in there:
            yield Code.CHANGED_FILE, f"{name} is gone"
        elif there[name] != int(size):
            yield Code.CHANGED_FILE, f"{name} {tell_other_size(there[name], int(size))}"
        elif is_thorough and find_digest(storage, f"{folder}/{name}") != digest:
            yield Code.CHANGED_FILE, f"{name} has another SHA-256"


def _list_there(
    storage: LocalStorage, folder: str, given: Delivery, there: dict[str, int]
) -> Found:
    """Adds the sizes of the files that were written; tells of others that are read as rows."""
    left = [folder]
    while left:
        for entry in storage.list(left.pop()):
            name = entry.name[len(folder) + 1 :]
            if entry.is_folder:
                left.append(entry.name)
            elif name in given.files:
                there[name] = entry.size
            elif _is_read(last_piece(name)):
                evidence = "it is not batten's, and readers take it for a part"
                yield Code.STRAY_FILE, evidence, name


def _is_read(name: str) -> bool:
    """Whether readers would take a file of that name for one of the rows. What is hidden, most pass
    over (decision 0052)."""
    return name.lower().endswith(_SUFFIXES) or not name.startswith((".", "_"))
