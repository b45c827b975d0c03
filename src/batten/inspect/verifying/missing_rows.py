"""Names the items whose rows a destination lacks.

It compares the keys that are in its table with those in the parts. It only reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batten.ledger.facts.observation import Observation
from batten.ledger.files.part_rows import PartRows
from batten.lookup.look_at_destination import find_iceberg
from batten.lookup.look_at_sqlite import look_at_database, select
from batten.lookup.telling_lacks import Found
from batten.model.disk.destinations.delivery import Delivery
from batten.model.rules.findings import Code, Finding
from batten.model.telling.counts import count_of
from batten.storage.base import Store

if TYPE_CHECKING:
    import sqlite3

KEYS_SHOWN = 5

ReadKeys = Callable[[str], list[Any]]
"""The values of the column of that name."""


def name_missing(
    storage: Store, observation: Observation, findings: list[Finding]
) -> list[Finding]:
    """The findings; those of tables of this machine that lack rows say which."""
    lacking = {each.path for each in findings if each.code is Code.LACKING_ROWS}
    readers = {
        given.target: _find_reader(storage, given)
        for given in observation.deliveries
        if given.target in lacking and (given.adds_rows or given.has_own_keys)
    }
    return [
        each
        if each.code is not Code.LACKING_ROWS or readers.get(each.path) is None
        else _add_keys(each, storage, observation, readers[each.path])
        for each in findings
    ]


def tell_missing(storage: Store, observation: Observation, read: ReadKeys) -> str:
    """The first lacking keys, with their batches. Empty if none is lacking, or if the table can't
    be read."""
    if observation.config is None:
        return ""
    column = observation.config.key_column
    try:
        there = set(map(str, read(column)))
        missing = [
            (key, batch)
            for batch, key in _list_keys(storage, observation, column)
            if str(key) not in there
        ]
    except Exception:  # noqa: BLE001  Whatever a damaged table or part makes a library raise.
        return ""
    if not missing:
        return ""
    shown = ", ".join(f"{key} (batch {batch})" for key, batch in missing[:KEYS_SHOWN])
    more = len(missing) - KEYS_SHOWN
    return f"missing: {shown}" + (f" and {count_of(more, 'more item')}" if more > 0 else "")


def _add_keys(
    finding: Finding, storage: Store, observation: Observation, read: ReadKeys | None
) -> Finding:
    told = tell_missing(storage, observation, read) if read is not None else ""
    return replace(finding, evidence=f"{finding.evidence}; {told}") if told else finding


def _list_keys(storage: Store, observation: Observation, column: str) -> Iterator[tuple[int, Any]]:
    """Each key that has rows, once, with its batch."""
    for batch in sorted(observation.parts):
        with storage.open(observation.layout.part(batch)) as file:
            read = PartRows(file).read_table([column])
        yield from ((batch, key) for key in dict.fromkeys(read.column(0).to_pylist()))


def _find_reader(storage: Store, given: Delivery) -> ReadKeys | None:
    path = given.where.locate(storage.place)
    match given.kind:
        case "sqlite":
            return lambda column: _read_sqlite(path, given, column)
        case "delta":
            return lambda column: _read_delta(path, column)
        case "iceberg":
            return lambda column: _read_iceberg(given, column)
        case _:
            return None


def _read_sqlite(path: str, given: Delivery, column: str) -> list[Any]:
    keys: list[Any] = []
    name = column.replace('"', '""')

    def look(base: sqlite3.Connection, is_counted: bool) -> Found:
        query, values = select(f'"{name}"', given.where.table, given)
        keys.extend(key for (key,) in base.execute(query, values))
        yield from ()

    list(look_at_database(path, given, look, is_thorough=True))
    return keys


def _read_delta(root: str, column: str) -> list[Any]:
    import deltalake
    from pyarrow import fs

    # Without it a thread of Arrow's may outlive Python.
    files = fs.SubTreeFileSystem(root, fs.LocalFileSystem())
    found = deltalake.DeltaTable(root).to_pyarrow_table(columns=[column], filesystem=files)
    keys: list[Any] = found.column(0).to_pylist()
    return keys


def _read_iceberg(given: Delivery, column: str) -> list[Any]:
    from pyiceberg.table import StaticTable

    table = StaticTable.from_metadata(find_iceberg(given))
    keys: list[Any] = table.scan(selected_fields=(column,)).to_arrow().column(0).to_pylist()
    return keys
