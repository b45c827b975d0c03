"""Looks at folders of files by the values of columns: whether they hold what was put there."""

from __future__ import annotations

import os

from batten.lookup.telling_lacks import Found, find_mode
from batten.model.disk.destinations.delivery import Delivery
from batten.model.rules.findings import Code
from batten.storage.digests import find_digest
from batten.storage.local.folder import LocalStorage
from batten.storage.relative import last_piece

_SUFFIXES = (".parquet", ".parq", ".pq")


def look_at_hive(place: str, given: Delivery, *, is_thorough: bool) -> Found:
    """By the names and sizes of its files; a thorough look reads them all."""
    path = given.where.locate(place)
    if not find_mode(path):
        if given.files:
            yield Code.LOST_FILE, "the folder is gone"
        return
    storage = LocalStorage(os.path.dirname(path))
    folder = os.path.basename(path)
    left = [folder]
    there: dict[str, int] = {}
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
    for name, told in given.files.items():
        size, _, digest = told.partition(" ")
        if name not in there:
            yield Code.CHANGED_FILE, f"{name} is gone"
        elif there[name] != int(size):
            yield Code.CHANGED_FILE, f"{name} has {there[name]} bytes, and {size} were written"
        elif is_thorough and find_digest(storage, f"{folder}/{name}") != digest:
            yield Code.CHANGED_FILE, f"{name} has another SHA-256"


def _is_read(name: str) -> bool:
    """Whether readers would take a file of that name for one of the rows. What is hidden, most pass
    over (decision 0052)."""
    return name.lower().endswith(_SUFFIXES) or not name.startswith((".", "_"))
