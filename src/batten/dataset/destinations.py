"""Looks at destinations that lie on this machine: whether they are there, and hold what they were
given. Reads only, changes nothing beside them, waits for nobody.

What is found is a lack, or damage: rows and files of others are no business of batten's. What can't
be looked at now (a database that somebody writes to, a record of 0.1 that does not say enough) is
no lack.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from batten.dataset.kept_tables import look_at_delta, look_at_iceberg, tell_batches, tell_rows
from batten.dataset.kept_trees import look_at_tree
from batten.errors import StorageError
from batten.model.findings import Code, Finding
from batten.model.records import Delivery
from batten.storage.base import Storage
from batten.storage.failures import reading_failure

if TYPE_CHECKING:
    import sqlite3

COUNTED_BYTES_MAX = 64 << 20
"""A database is counted in passing only up to this size."""


def look_at_destination(storage: Storage, given: Delivery, *, is_thorough: bool) -> list[Finding]:
    """What the destination lacks of what it was given. Only a thorough look reads much.

    What is damaged so that it can't be looked at is a finding, too. Raises `StorageError` where the
    system forbids the look."""
    if given.is_file or not given.batches or not os.path.isdir(storage.place):
        return []
    try:
        try:
            found = _look(storage.place, given, is_thorough)
        except Exception:  # noqa: BLE001
            # Somebody may have changed it just now, so it is looked at once more.
            found = _look(storage.place, given, is_thorough)
    except OSError as error:
        raise reading_failure(error, "Looking at", given.target) from error
    except StorageError:
        raise
    except Exception as error:  # noqa: BLE001  Damaged files make libraries raise anything.
        what = getattr(error, "what", "") or f"{type(error).__name__}: {error}"
        lines = what.splitlines() or [type(error).__name__]
        found = [(Code.UNREADABLE_DESTINATION, f"it can't be read: {lines[0].removesuffix('.')}")]
    return [Finding(code=code, path=given.target, evidence=evidence) for code, evidence in found]


def _look(place: str, given: Delivery, is_thorough: bool) -> list[tuple[Code, str]]:
    match given.kind:
        case "sqlite":
            return list(_look_at_sqlite(place, given, is_thorough))
        case "delta":
            return list(look_at_delta(place, given, is_thorough=is_thorough))
        case "iceberg":
            return list(_look_at_iceberg(given, is_thorough))
        case "tree":
            return list(look_at_tree(place, given, is_thorough=is_thorough))
        case _:
            return []


Found = Iterator[tuple[Code, str]]


def _look_at_sqlite(place: str, given: Delivery, is_thorough: bool) -> Found:
    table, _, relative = given.target.removeprefix("table ").rpartition(" of ")
    path = os.path.normpath(os.path.join(place, relative))
    yield from _look_at_database(
        path,
        lambda base, is_small: _look_at_table(base, table, given, is_small, is_thorough),
    )


def _look_at_database(path: str, look: Callable[[sqlite3.Connection, bool], Found]) -> Found:
    """`look` is given whether the database is small enough to be counted."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        yield Code.LOST_TABLE, f"{os.path.basename(path)} is gone"
        return
    if not stat.S_ISREG(found.st_mode):
        yield Code.LOST_TABLE, f"{os.path.basename(path)} is no file"
        return
    if not found.st_size:
        yield Code.LOST_TABLE, f"{os.path.basename(path)} is empty"
        return
    if any(_size(path + suffix) for suffix in ("-wal", "-journal")):
        return
    import sqlite3
    from urllib.parse import quote

    try:
        # It takes no lock and makes no file beside the database.
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro&immutable=1", uri=True)) as base:
            yield from look(base, found.st_size <= COUNTED_BYTES_MAX)
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return
        if code == sqlite3.SQLITE_NOTADB:
            yield Code.LOST_TABLE, f"{os.path.basename(path)} can't be read: {error}"
            return
        with open(path, "rb") as file:  # Where the system forbids it, that is the reason.
            file.read(1)
        raise


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _look_at_table(
    base: sqlite3.Connection, table: str, given: Delivery, is_small: bool, is_thorough: bool
) -> Found:
    def has(name: str) -> bool:
        query = "SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = ?"
        return base.execute(query, (name.lower(),)).fetchone() is not None

    if not has(table):
        yield Code.LOST_TABLE, "the table is gone"
        return
    if is_thorough and (told := base.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        yield Code.UNREADABLE_DESTINATION, f"the database is damaged: {told}".splitlines()[0]
        return
    tokens = 0
    if has("batten_tokens"):
        query = "SELECT count(*) FROM batten_tokens WHERE target = ? COLLATE NOCASE"
        values = (table, given.dataset) if given.dataset else (table,)
        tokens = base.execute(
            query + (" AND dataset = ?" if given.dataset else ""), values
        ).fetchone()[0]
    if tokens < given.batches:
        yield tell_batches(tokens, given)
    elif given.adds_rows and (is_small or is_thorough):
        name = table.replace('"', '""')
        rows = base.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
        if rows < given.rows:
            yield tell_rows(rows, given)


def _look_at_iceberg(given: Delivery, is_thorough: bool) -> Found:
    """Where the catalogue is a database of SQLite on this machine."""
    told, _, path = given.target.rpartition(" at ")
    table = told.removeprefix("table ").partition(" of catalogue ")[0]
    if not path.startswith("/"):
        return

    def look(base: sqlite3.Connection, is_small: bool) -> Found:
        space, _, name = table.rpartition(".")
        query = (
            "SELECT metadata_location FROM iceberg_tables "
            "WHERE table_namespace = ? AND table_name = ?"
        )
        row = base.execute(query, (space, name)).fetchone()
        if row is None:
            yield Code.LOST_TABLE, "the table is gone from the catalogue"
        else:
            yield from look_at_iceberg(str(row[0]), given, is_thorough=is_thorough)

    yield from _look_at_database("/" + path.lstrip("/"), look)
