"""Looks at an Iceberg table of this machine, at the metadata that its catalogue names.

It only reads. A look in passing needs no library; a thorough look reads manifests, too.
"""

from __future__ import annotations

import gzip
import os
import stat
from collections.abc import Iterator
from typing import Any

from batten.lookup.telling_lacks import (
    CannotLookError,
    Found,
    find_mode,
    tell_batches,
    tell_lost,
    tell_rows,
)
from batten.model.disk.destinations.delivery import Delivery
from batten.model.json_text import parse_json
from batten.model.rules.findings import Code
from batten.model.telling.counts import count_of

METADATA_BYTES_MAX = 64 << 20
"""So much is read in passing."""


def look_at_iceberg(location: str, given: Delivery, *, is_thorough: bool) -> Found:
    """By the metadata that the catalogue names; a thorough look reads the manifests."""
    path = _find_local(location)
    if not path:
        raise CannotLookError("its files are on no disk of this machine")
    if not stat.S_ISREG(find_mode(path)):
        yield Code.LOST_TABLE, "the metadata of the table is gone"
        return
    if os.stat(path).st_size > METADATA_BYTES_MAX and not is_thorough:
        raise CannotLookError("its metadata is large: only verify reads it")
    with (gzip.open if ".gz." in path or path.endswith(".gz") else open)(path, "rb") as file:
        metadata = parse_json(file.read())
    start = f"batten.{given.dataset}."
    names = (each.removeprefix(start) for each in metadata.get("properties") or ())
    if given.dataset and (
        lacking := tell_batches({int(each) for each in names if each.isdecimal()}, given)
    ):
        yield lacking
        return
    snapshots = {each["snapshot-id"]: each for each in metadata.get("snapshots") or ()}
    current = metadata.get("current-snapshot-id")
    if current in (None, -1):
        current = None
    elif current not in snapshots:
        yield Code.LOST_TABLE, "its metadata does not hold its current snapshot"
        return
    if current is not None:
        listed = str(snapshots[current].get("manifest-list") or "")
        if (local := _find_local(listed)) and not stat.S_ISREG(find_mode(local)):
            yield Code.LACKING_ROWS, f"the list of its files is gone: {listed}"
            return
        if is_thorough and (lost := tell_lost(_list_files(location))):
            yield Code.LACKING_ROWS, lost
            return
    yield from _count(snapshots, current, given)


def _count(snapshots: dict[int, Any], current: int | None, given: Delivery) -> Found:
    """How many rows of the job there still are, by what each snapshot says that it did."""
    if given.has_own_keys:
        yield from _count_all(snapshots, current, given)
    if not given.adds_rows or not given.dataset:
        return
    chain: list[dict[str, Any]] = []
    parent = current
    while parent is not None and parent in snapshots and len(chain) < len(snapshots):
        chain.append(snapshots[parent])
        parent = snapshots[parent].get("parent-snapshot-id")
    low = high = 0
    if parent is not None:
        # Expired snapshots no longer say who added what.
        high = _number(chain[-1], "total-records")
    for snapshot in reversed(chain):
        summary = snapshot.get("summary") or {}
        added = _number(snapshot, "added-records", 0)
        deleted = _number(snapshot, "deleted-records", 0)
        total = _number(snapshot, "total-records")
        gone = _number(snapshot, "added-position-deletes", 0)
        if _number(snapshot, "added-equality-deletes", 0):
            low = 0
        if summary.get("batten.dataset") == given.dataset:
            # What it rewrote of others' rows is among both.
            low, high = max(0, low + added - deleted), max(0, high + added - deleted)
        elif summary.get("operation") != "replace":
            low = max(0, low - deleted - gone)
        deletes = _number(snapshot, "total-position-deletes", 0)
        high = max(0, min(high, total - deletes))
    if high < given.rows:
        has = f"{high:,}" if low == high else f"at most {high:,}"
        yield Code.LACKING_ROWS, f"it has {has} of the {count_of(given.rows, 'row')} it was given"
    elif low < given.rows:
        raise CannotLookError(
            "its snapshots do not tell which of its rows are those that it was given"
        )


def _count_all(snapshots: dict[int, Any], current: int | None, given: Delivery) -> Found:
    """By key, nobody can tell which rows are its own: there are at least so many."""
    rows = 0
    if current is not None:
        snapshot = snapshots[current]
        if _number(snapshot, "total-equality-deletes", 0):
            raise CannotLookError("its snapshots do not tell how many rows are deleted by value")
        rows = _number(snapshot, "total-records")
        if rows - _number(snapshot, "total-position-deletes", 0) < given.rows <= rows:
            # Those of rows that a compaction has left out are counted on.
            raise CannotLookError("its snapshots do not tell how many rows are deleted by place")
    if rows < given.rows:
        yield tell_rows(rows, given)


def _number(snapshot: dict[str, Any], name: str, usual: int | None = None) -> int:
    found = (snapshot.get("summary") or {}).get(name, usual)
    if found is None:
        raise CannotLookError(f"its snapshots do not tell {name}")
    return int(found)


def _find_local(location: str) -> str:
    """Empty for what is not on this machine."""
    if location.startswith("file:"):
        return "/" + location.removeprefix("file:").lstrip("/")
    return location if location.startswith("/") else ""


def _list_files(location: str) -> Iterator[tuple[str, str, int | None]]:
    """The data files of the current snapshot that lie on this machine."""
    try:
        from pyiceberg.table import StaticTable
    except ImportError:
        raise CannotLookError("pyiceberg, which reads its manifests, is not installed") from None
    table = StaticTable.from_metadata(location)
    snapshot = table.current_snapshot()
    for manifest in snapshot.manifests(table.io) if snapshot else ():
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            path = entry.data_file.file_path
            if local := _find_local(path):
                yield os.path.basename(local), local, entry.data_file.file_size_in_bytes
