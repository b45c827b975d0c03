"""Looks at destinations of this machine: whether they hold what they were given.

It only reads, changes nothing beside them, and waits for nobody (decisions 0053, 0064).

What is found is a lack, or damage: rows and files of others are no business of batten's. What can't
be looked at is no lack: that is told, with the reason.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from batten.errors import StorageError
from batten.lookup.telling_lacks import CannotLookError, Found, as_counted, find_mode, tell_gone
from batten.model.disk.destinations.delivery import Delivery
from batten.model.rules.findings import Code, Finding
from batten.model.words import FILES
from batten.storage.base import Store
from batten.storage.failures import find_obstacle

if TYPE_CHECKING:
    import sqlite3


def look_at_destination(
    storage: Store, given: Delivery, *, is_thorough: bool, is_closed: bool
) -> list[Finding]:
    """What the destination lacks, of all that it was given. Only a thorough look reads much.
    `is_closed`: the dataset's accounts are, so nothing is on its way there any more.

    Damage that keeps a look from being made is a finding, too, and so is that the system forbids
    the look (decision 0087)."""
    if given.is_file or given.kind == FILES or not given.batches or not given.is_here:
        return []  # Files are looked at by the records of the ledger.
    if not given.rows:
        return []  # What was given no rows lacks none. It may not have been made yet.
    given = as_counted(given, is_closed=is_closed)
    try:
        if not stat.S_ISDIR(find_mode(storage.place)):
            raise CannotLookError("the way to it begins in a folder that is not on this machine")
        try:
            found = list(_look(storage.place, given, is_thorough, is_closed))
        except Exception:  # noqa: BLE001
            # Somebody may have changed it just now, so it is looked at once more.
            found = list(_look(storage.place, given, is_thorough, is_closed))
    except CannotLookError as error:
        found = [(Code.NOT_LOOKED_AT, f"can't be looked at: {error}")]
    except (OSError, StorageError) as error:
        found = [_tell_failure(error)]
    except Exception as error:  # noqa: BLE001  Damaged files make libraries raise anything.
        found = [_tell_damage(getattr(error, "what", "") or f"{type(error).__name__}: {error}")]
    return [
        Finding(
            code=code,
            path="/".join([given.target, *below]),
            evidence=evidence,
            kind="" if below else given.shown_as,
        )
        for code, evidence, *below in found
    ]


def _tell_failure(error: OSError | StorageError) -> tuple[Code, str]:
    if obstacle := find_obstacle(error):
        return Code.NOT_LOOKED_AT, f"can't be looked at: {obstacle}"
    return _tell_damage(getattr(error, "what", "") or str(error))


def _tell_damage(what: str) -> tuple[Code, str]:
    (line, *_) = what.splitlines() or ["an unknown failure"]
    return Code.UNREADABLE_DESTINATION, f"it can't be read: {line.removesuffix('.')}"


def _look(place: str, given: Delivery, is_thorough: bool, is_closed: bool) -> Found:
    if given.package:
        from batten.lookup.look_at_plugin import look_at_plugin

        yield from look_at_plugin(place, given)
        return
    # Each is imported where it is needed: a command that starts looks at few or none.
    match given.kind:
        case "sqlite":
            from batten.lookup.look_at_sqlite import look_at_sqlite

            yield from look_at_sqlite(place, given, is_thorough=is_thorough)
        case "delta":
            from batten.lookup.look_at_delta import look_at_delta

            yield from look_at_delta(place, given, is_thorough=is_thorough)
        case "iceberg":
            yield from _look_at_iceberg(given, is_thorough)
        case "hive":
            from batten.lookup.look_at_hive import look_at_hive

            yield from look_at_hive(place, given, is_thorough=is_thorough, is_closed=is_closed)
        case "tree":
            from batten.lookup.look_at_tree import look_at_tree

            yield from look_at_tree(place, given, is_thorough=is_thorough)


def _look_at_iceberg(given: Delivery, is_thorough: bool) -> Found:
    from batten.lookup.look_at_iceberg import look_at_iceberg

    locations: list[str] = []
    yield from _ask_catalogue(given, locations, is_thorough)
    for location in locations:
        yield from look_at_iceberg(location, given, is_thorough=is_thorough)


def find_iceberg(given: Delivery) -> str:
    """Where the metadata of the table lies. Raises `LookupError` if no catalogue says."""
    locations: list[str] = []
    list(_ask_catalogue(given, locations, is_thorough=True))
    if not locations:
        raise LookupError(given.target)
    return locations[0]


def _ask_catalogue(given: Delivery, locations: list[str], is_thorough: bool) -> Found:
    """Where it is a database of SQLite on this machine; adds to the locations."""
    from batten.lookup.look_at_sqlite import look_at_database

    where = given.where
    if not where.path:
        return

    def look(base: sqlite3.Connection, is_counted: bool) -> Found:
        space, _, name = where.table.rpartition(".")
        query = (
            "SELECT metadata_location FROM iceberg_tables "
            "WHERE table_namespace = ? AND table_name = ?"
        )
        row = base.execute(query, (space, name)).fetchone()
        if row is None:
            yield tell_gone(given, "the table is gone from the catalogue")
        else:
            locations.append(str(row[0]))

    yield from look_at_database(where.path, given, look, is_thorough=is_thorough)
