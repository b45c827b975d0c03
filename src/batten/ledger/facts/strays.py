"""Files beside the parts that readers of the folder would take for parts: rows read twice.

Tried with pyarrow, pandas, Polars and DuckDB: Polars and DuckDB take what ends with `.parquet`,
hidden too; pyarrow and pandas take whatever is Parquet inside, but not where the name begins with
"." or "_". What nobody reads, as `.gitkeep`, is no business of batten's (decision 0052).
"""

from __future__ import annotations

from itertools import islice

from batten.errors import StorageError
from batten.storage.base import Entry, Store
from batten.storage.relative import last_piece

_SUFFIXES = (".parquet", ".parq", ".pq")
_MAGIC = b"PAR1"
_ENTRIES_MAX = 1000
_DEPTH_MAX = 8


def is_hidden(name: str) -> bool:
    """Whether most readers pass it over."""
    return last_piece(name).startswith((".", "_"))


def find_stray(storage: Store, entry: Entry) -> str:
    """The file that readers would take for a part: the entry itself, or one below it; empty if
    there is none."""
    if entry.is_folder:
        return _find_below(storage, entry.name, _DEPTH_MAX)
    return entry.name if _is_read(storage, entry) else ""


def _find_below(storage: Store, folder: str, depth: int) -> str:
    try:
        entries = list(islice(storage.list(folder), _ENTRIES_MAX))
    except StorageError:
        return ""
    for entry in entries:
        if entry.is_folder:
            found = _find_below(storage, entry.name, depth - 1) if depth else ""
        else:
            found = entry.name if _is_read(storage, entry) else ""
        if found:
            return found
    return ""


def _is_read(storage: Store, entry: Entry) -> bool:
    has_suffix = entry.name.lower().endswith(_SUFFIXES)
    if not entry.is_file:
        return has_suffix
    if has_suffix and not is_hidden(entry.name):
        return True
    if not has_suffix and is_hidden(entry.name):
        return False
    try:
        return storage.read(entry.name, length=len(_MAGIC)) == _MAGIC
    except (StorageError, FileNotFoundError):
        return has_suffix
