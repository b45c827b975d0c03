"""Looks at tables of Delta Lake and Iceberg that lie on this machine: at what their own records
say, and whether the files that these name are there. Reads only.

In passing no library is needed. A thorough look reads checkpoints and manifests, too."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import Any

from batten.model.counts import count_of
from batten.model.findings import Code
from batten.model.records import Delivery

ENTRIES_MAX = 1000
"""So many entries of a log are read in passing."""

_METADATA_BYTES_MAX = 64 << 20
_ENTRY = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(
    r"(\d{20})\.checkpoint\.(?:\d{10}\.(?P<parts>\d{10})\.|(?P<id>.+)\.)?parquet"
)

Found = Iterator[tuple[Code, str]]


def tell_batches(found: int, given: Delivery) -> tuple[Code, str]:
    """It has so many batches, fewer than it was given."""
    was = count_of(given.batches, "batch", "batches")
    return Code.LACKING_ROWS, f"it has the tokens of {found}, and was given {was}"


def tell_rows(found: int, given: Delivery) -> tuple[Code, str]:
    """It has so many rows, fewer than it was given."""
    was = count_of(given.rows, "row")
    return Code.LACKING_ROWS, f"it has {count_of(found, 'row')}, and was given {was}"


class _Table:
    """What the log of a Delta table says: files with size and rows, where these are known."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[int | None, int | None]] = {}
        self.tokens: set[str] = set()

    def take(self, action: dict[str, Any]) -> None:
        if add := action.get("add"):
            stats = json.loads(add.get("stats") or "{}")
            self.files[add["path"]] = (add.get("size"), stats.get("numRecords"))
        if remove := action.get("remove"):
            self.files.pop(remove["path"], None)
        if txn := action.get("txn"):
            self.tokens.add(txn["appId"])


def look_at_delta(place: str, given: Delivery, *, is_thorough: bool) -> Found:
    """By its log: all of it where that is short or the look is thorough."""
    root = os.path.normpath(os.path.join(place, given.target))
    if not os.path.isdir(root):
        yield Code.LOST_TABLE, "the folder of the table is gone"
        return
    log = os.path.join(root, "_delta_log")
    names = sorted(os.listdir(log)) if os.path.isdir(log) else []
    entries = [int(match[1]) for name in names if (match := _ENTRY.fullmatch(name))]
    version, files = _find_checkpoint(names)
    if not entries and version < 0:
        yield Code.LOST_TABLE, "the log of the table is gone"
        return
    table = _Table()
    is_read = is_thorough and version >= 0
    if is_read:
        for name in files:
            _read_checkpoint(log, name, table)
    # A log that is there from its beginning tells all without its checkpoint.
    is_whole = entries[:1] == [0] and (is_thorough or len(entries) <= ENTRIES_MAX)
    begin = version + 1 if is_read or not is_whole else 0
    wanted = [number for number in entries if number >= begin]
    if (is_read or is_whole or version >= 0) and wanted != list(range(begin, begin + len(wanted))):
        lacking = next(each for each in range(begin, wanted[-1]) if each not in set(wanted))
        yield Code.LACKING_ROWS, f"entry {lacking} of its log is gone, and later ones are there"
        return
    for number in wanted:
        name = f"{number:020}.json"
        try:
            _take_entry(os.path.join(log, name), table)
        except (ValueError, KeyError, TypeError, AttributeError):
            yield Code.LOST_TABLE, f"{name} of its log can't be read"
            return
    yield from _hold(root, table, given, is_all=is_read or is_whole)


def _take_entry(path: str, table: _Table) -> None:
    _refuse_special(path)
    with open(path, "rb") as file:
        for line in file:
            table.take(json.loads(line))


def _refuse_special(path: str) -> None:
    """Raises `ValueError` for what is no file, and might never end, or is too large."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode) or found.st_size > _METADATA_BYTES_MAX:
        raise ValueError(f"{os.path.basename(path)} is no file of a table's log")


def _hold(root: str, table: _Table, given: Delivery, *, is_all: bool) -> Found:
    start = f"batten:{given.dataset}:"
    held = [each for each in table.tokens if each.startswith(start) and each.count(":") == 2]
    if is_all and given.dataset and len(held) < given.batches:
        yield tell_batches(len(held), given)
    sizes = ((path, _find_local(root, path), size) for path, (size, _) in table.files.items())
    lost = _tell_lost((path, local, size) for path, local, size in sizes if local is not None)
    if lost:
        yield Code.LACKING_ROWS, lost
        return
    rows = [rows for _, rows in table.files.values()]
    if is_all and given.adds_rows and None not in rows:
        found = sum(each for each in rows if each is not None)
        if found < given.rows:
            yield tell_rows(found, given)


def _find_local(root: str, path: str) -> str | None:
    """Where a file that the log names lies; None for one of another place."""
    from urllib.parse import unquote

    if path.startswith("file://"):
        return unquote(path.removeprefix("file://"))
    return None if "://" in path else os.path.join(root, unquote(path))


def _tell_lost(files: Iterable[tuple[str, str, int | None]]) -> str:
    """Which of the files, by name, path and size, are gone or of another size; empty for none."""
    gone, changed = [], []
    for name, path, size in files:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            gone.append(name)
        else:
            if not stat.S_ISREG(found.st_mode):
                changed.append(f"{name} is no file")
            elif size is not None and found.st_size != size:
                changed.append(f"{name} has {found.st_size} bytes, and {size} were written")
    if gone:
        return f"{count_of(len(gone), 'file')} of it is gone, {gone[0]} first"
    return changed[0] if changed else ""


def _find_checkpoint(names: Iterable[str]) -> tuple[int, list[str]]:
    """Version and files of the last that is whole; -1 where there is none."""
    found: dict[tuple[int, int, str], list[str]] = {}
    for name in names:
        if match := _CHECKPOINT.fullmatch(name):
            key = (int(match[1]), int(match["parts"] or 1), match["id"] or "")
            found.setdefault(key, []).append(name)
    whole = [key for key, files in found.items() if len(files) == key[1]]
    return (max(whole)[0], found[max(whole)]) if whole else (-1, [])


def _read_checkpoint(log: str, name: str, table: _Table) -> None:
    import pyarrow.parquet as pq

    if not stat.S_ISREG(os.stat(os.path.join(log, name)).st_mode):
        raise ValueError(f"{name} is no file")
    reader = pq.ParquetFile(os.path.join(log, name))
    fields = {"add": ("path", "size", "stats"), "txn": ("appId",), "sidecar": ("path",)}
    with reader:
        there = [column.path for column in map(reader.schema.column, range(len(reader.schema)))]
        wanted = {f"{kind}.{each}" for kind, names in fields.items() for each in names}
        for rows in reader.iter_batches(columns=[each for each in there if each in wanted]):
            for action in rows.to_pylist():
                table.take(action)
                if sidecar := action.get("sidecar"):
                    _read_checkpoint(os.path.join(log, "_sidecars"), sidecar["path"], table)


def look_at_iceberg(location: str, given: Delivery, *, is_thorough: bool) -> Found:
    """By the metadata that the catalogue names; a thorough look reads the manifests."""
    path = location.removeprefix("file://")
    if not os.path.isfile(path):
        yield Code.LOST_TABLE, "the metadata of the table is gone"
        return
    if os.stat(path).st_size > _METADATA_BYTES_MAX and not is_thorough:
        return
    with open(path, "rb") as file:
        metadata = json.load(file)
    start = f"batten.{given.dataset}."
    properties = metadata.get("properties") or ()
    held = [
        each for each in properties if each.startswith(start) and each.removeprefix(start).isdigit()
    ]
    if given.dataset and len(held) < given.batches:
        yield tell_batches(len(held), given)
        return
    current = metadata.get("current-snapshot-id")
    for snapshot in metadata.get("snapshots") or ():
        if snapshot.get("snapshot-id") != current:
            continue
        rows = int(snapshot.get("summary", {}).get("total-records", given.rows))
        if given.adds_rows and rows < given.rows:
            yield tell_rows(rows, given)
            return
        listed = str(snapshot.get("manifest-list") or "")
        local = listed.removeprefix("file://")
        if local.startswith("/") and not os.path.isfile(local):
            yield Code.LACKING_ROWS, f"the list of its files is gone: {listed}"
        elif is_thorough and (lost := _tell_lost(_list_files(location))):
            yield Code.LACKING_ROWS, lost


def _list_files(location: str) -> Iterator[tuple[str, str, int | None]]:
    """The data files of the current snapshot that lie on this machine; nothing where the library is
    not installed."""
    try:
        from pyiceberg.table import StaticTable
    except ImportError:
        return
    table = StaticTable.from_metadata(location)
    snapshot = table.current_snapshot()
    for manifest in snapshot.manifests(table.io) if snapshot else ():
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            path = entry.data_file.file_path
            if path.startswith(("file://", "/")):
                local = path.removeprefix("file://")
                yield os.path.basename(local), local, entry.data_file.file_size_in_bytes
