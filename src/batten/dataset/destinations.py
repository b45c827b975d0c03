"""Looks at destinations that lie on this machine: whether they are there, and hold what they were
given. Reads only, changes nothing beside them, waits for nobody, and needs no library of theirs.

What is found is a lack: rows and files of others are no business of batten's. What can't be looked
at now (a database that somebody writes to, a record of 0.1 that does not say enough) is no lack.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from batten.errors import BattenError
from batten.model.counts import count_of
from batten.model.findings import Code, Finding
from batten.model.journal import Action, Journal
from batten.model.names import TreeLayout
from batten.model.records import Delivery, Unreadable, decode_record
from batten.storage.base import Storage
from batten.storage.local import LocalStorage

if TYPE_CHECKING:
    import sqlite3

COUNTED_BYTES_MAX = 64 << 20
"""A database is counted in passing only up to this size."""

JOURNALS_MAX = 1000
"""So many items of a tree are looked at in passing."""

_METADATA_BYTES_MAX = 64 << 20


def look_at_destination(storage: Storage, given: Delivery, *, is_thorough: bool) -> list[Finding]:
    """What the destination lacks of what it was given. Only a thorough look reads much."""
    place = storage.place
    if given.is_file or not given.batches or not os.path.isdir(place):
        return []
    try:
        match given.kind:
            case "sqlite":
                found = list(_look_at_sqlite(place, given, is_thorough))
            case "delta":
                found = list(_look_at_delta(place, given))
            case "iceberg":
                found = list(_look_at_iceberg(given))
            case "tree":
                found = list(_look_at_tree(place, given, is_thorough))
            case _:
                return []
    except (OSError, ValueError, KeyError, TypeError, BattenError):
        return []
    return [Finding(code=code, path=given.target, evidence=evidence) for code, evidence in found]


Found = Iterator[tuple[Code, str]]


def _look_at_sqlite(place: str, given: Delivery, is_thorough: bool) -> Found:
    table, _, relative = given.target.removeprefix("table ").rpartition(" of ")
    path = os.path.normpath(os.path.join(place, relative))
    yield from _look_at_database(
        path,
        lambda base, is_small: _look_at_table(base, table, given, is_thorough or is_small),
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
        # Anything else may come of somebody who writes to it just now.
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
            yield Code.LOST_TABLE, f"{os.path.basename(path)} can't be read: {error}"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _look_at_table(
    base: sqlite3.Connection, table: str, given: Delivery, is_counted: bool
) -> Found:
    def has(name: str) -> bool:
        query = "SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = ?"
        return base.execute(query, (name.lower(),)).fetchone() is not None

    if not has(table):
        yield Code.LOST_TABLE, "the table is gone"
        return
    tokens = 0
    if has("batten_tokens"):
        query = "SELECT count(*) FROM batten_tokens WHERE target = ? COLLATE NOCASE"
        values = (table, given.dataset) if given.dataset else (table,)
        tokens = base.execute(
            query + (" AND dataset = ?" if given.dataset else ""), values
        ).fetchone()[0]
    if tokens < given.batches:
        yield _tell_batches(tokens, given)
    elif given.adds_rows and is_counted:
        name = table.replace('"', '""')
        rows = base.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
        if rows < given.rows:
            yield _tell_rows(rows, given)


def _tell_batches(found: int, given: Delivery) -> tuple[Code, str]:
    was = count_of(given.batches, "batch", "batches")
    return Code.LACKING_ROWS, f"it has the tokens of {found}, and was given {was}"


def _tell_rows(found: int, given: Delivery) -> tuple[Code, str]:
    was = count_of(given.rows, "row")
    return Code.LACKING_ROWS, f"it has {count_of(found, 'row')}, and was given {was}"


def _look_at_delta(place: str, given: Delivery) -> Found:
    root = os.path.normpath(os.path.join(place, given.target))
    if not os.path.isdir(root):
        yield Code.LOST_TABLE, "the folder of the table is gone"
        return
    log = os.path.join(root, "_delta_log")
    names = sorted(os.listdir(log)) if os.path.isdir(log) else []
    entries = [name for name in names if name.endswith(".json") and name[:20].isdigit()]
    has_checkpoint = any(".checkpoint." in name for name in names)
    if not entries and not has_checkpoint:
        yield Code.LOST_TABLE, "the log of the table is gone"
        return
    if has_checkpoint:
        return
    added: dict[str, int] = {}
    tokens: set[str] = set()
    for name in entries:
        try:
            _take_entry(os.path.join(log, name), added, tokens)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            yield Code.LOST_TABLE, f"{name} of its log can't be read"
            return
    start = f"batten:{given.dataset}:"
    held = [each for each in tokens if each.startswith(start) and each.count(":") == 2]
    if given.dataset and len(held) < given.batches:
        yield _tell_batches(len(held), given)
    from urllib.parse import unquote

    gone = [path for path in added if not os.path.exists(os.path.join(root, unquote(path)))]
    if gone:
        yield Code.LACKING_ROWS, f"{count_of(len(gone), 'file')} of it is gone, {gone[0]} first"
    elif given.adds_rows and sum(added.values()) < given.rows:
        yield _tell_rows(sum(added.values()), given)


def _take_entry(path: str, added: dict[str, int], tokens: set[str]) -> None:
    """Files with their rows, and tokens, after one entry more of a log."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode) or found.st_size > _METADATA_BYTES_MAX:
        raise ValueError("no entry of a log")
    with open(path, "rb") as file:
        for line in file:
            action = json.loads(line)
            if "add" in action:
                stats = json.loads(action["add"].get("stats") or "{}")
                added[action["add"]["path"]] = int(stats.get("numRecords", 0))
            elif "remove" in action:
                added.pop(action["remove"]["path"], None)
            elif "txn" in action:
                tokens.add(action["txn"]["appId"])


def _look_at_iceberg(given: Delivery) -> Found:
    """Where the catalogue is a database of SQLite on this machine."""
    told, _, path = given.target.rpartition(" at ")
    table = told.removeprefix("table ").partition(" of catalogue ")[0]
    if path.startswith("/"):
        yield from _look_at_database(
            "/" + path.lstrip("/"), lambda base, _: _look_at_catalogue(base, table, given)
        )


def _look_at_catalogue(base: sqlite3.Connection, table: str, given: Delivery) -> Found:
    space, _, name = table.rpartition(".")
    query = (
        "SELECT metadata_location FROM iceberg_tables WHERE table_namespace = ? AND table_name = ?"
    )
    row = base.execute(query, (space, name)).fetchone()
    if row is None:
        yield Code.LOST_TABLE, "the table is gone from the catalogue"
        return
    path = str(row[0]).removeprefix("file://")
    if not os.path.isfile(path):
        yield Code.LOST_TABLE, "the metadata of the table is gone"
        return
    if _size(path) > _METADATA_BYTES_MAX:
        return
    with open(path, "rb") as file:
        metadata = json.load(file)
    start = f"batten.{given.dataset}."
    held = [
        each
        for each in metadata.get("properties") or ()
        if each.startswith(start) and each.removeprefix(start).isdigit()
    ]
    if given.dataset and len(held) < given.batches:
        yield _tell_batches(len(held), given)
        return
    current = metadata.get("current-snapshot-id")
    for snapshot in metadata.get("snapshots") or ():
        if snapshot.get("snapshot-id") == current and given.adds_rows:
            rows = int(snapshot.get("summary", {}).get("total-records", given.rows))
            if rows < given.rows:
                yield _tell_rows(rows, given)


def _look_at_tree(place: str, given: Delivery, is_thorough: bool) -> Found:
    """By the journals that a tree keeps of each item."""
    root = os.path.normpath(os.path.join(place, given.target))
    if given.rows and not os.path.isdir(root):
        yield Code.LOST_TABLE, "the folder is gone"
        return
    storage, layout = LocalStorage(os.path.dirname(root)), TreeLayout(os.path.basename(root))
    names = [entry.name for entry in storage.list(layout.tokens) if entry.is_file]
    if len(names) > JOURNALS_MAX and not is_thorough:
        return
    put, deleted = set(), set()
    for name in names:
        try:
            journal = decode_record(Journal, storage.read(name))
        except (FileNotFoundError, Unreadable):
            continue
        for operation in journal.operations:
            if operation.action == Action.PUT:
                put.add(operation.path)
            elif operation.action != Action.MAKE_FOLDER:
                deleted.add(operation.path)
    lost = sorted(path for path in put - deleted if not os.path.lexists(os.path.join(root, path)))
    if lost:
        more = f" and {count_of(len(lost) - 1, 'more file')}" if len(lost) > 1 else ""
        yield Code.LACKING_ROWS, f"{lost[0]}{more}, which items put there, is gone"
