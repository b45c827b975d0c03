"""Whether the files are there of which rows tell."""

from __future__ import annotations

import pyarrow as pa

from batten.errors import StorageError
from batten.model.disk.items.item_files import (
    DIGEST_COLUMN,
    FILE_COLUMN,
    SIZE_COLUMN,
    ItemFile,
    name_made,
)
from batten.model.disk.names import Layout
from batten.rows.rows import ITEM
from batten.storage.base import Store
from batten.storage.digests import find_digest


def find_lacking(storage: Store, layout: Layout, batch: int, rows: pa.Table) -> set[int]:
    """The items of which a file is neither in `made/` nor, as it was made, in its place."""
    columns = (ITEM, FILE_COLUMN, SIZE_COLUMN, DIGEST_COLUMN)
    lacking: set[int] = set()
    values = [rows.column(name).to_pylist() for name in columns]
    for item, name, size, digest in zip(*values, strict=True):
        if not is_there(storage, layout, batch, ItemFile(name=name, size=size, digest=digest)):
            lacking.add(item)
    return lacking


def is_there(storage: Store, layout: Layout, batch: int, file: ItemFile) -> bool:
    """What is in `made/` was synced before a row told of it, so its size is enough."""
    made = storage.find(name_made(layout, batch, file))
    if made is not None and made.is_file and made.size == file.size:
        return True
    place = f"{layout.output}/{file.name}"
    try:
        found = storage.find(place)
        if found is None or not found.is_file or found.size != file.size:
            return False
        return find_digest(storage, place) == file.digest
    except StorageError:
        return False  # It is computed again, and what is in the way is told then.
