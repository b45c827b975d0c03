"""Looks at a Delta table of this machine, by its log and by the files that this names.

It reads all of the log, or the log from a checkpoint on. It changes nothing.

In passing no library is needed. A thorough look reads checkpoints, too.
"""

from __future__ import annotations

import os
import re
import stat
import uuid
from base64 import b85decode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from batten.lookup.delta_lineage import MANY, Change, Lineage
from batten.lookup.telling_lacks import (
    CannotLookError,
    Found,
    find_mode,
    tell_batches,
    tell_gone,
    tell_lost,
    tell_rows,
)
from batten.model.disk.destinations.delivery import Delivery
from batten.model.json_text import parse_json
from batten.model.rules.findings import Code
from batten.model.telling.counts import count_of

ENTRIES_MAX = 1000
"""So many entries of a log are read in passing."""

ENTRY_BYTES_MAX = 64 << 20

FEATURES = frozenset(
    {
        *("columnMapping", "deletionVectors", "timestampNtz", "timestampNanos", "typeWidening"),
        *("typeWidening-preview", "v2Checkpoint", "vacuumProtocolCheck"),
        *("variantType", "variantType-preview", "variantShredding-preview"),
    }
)
"""What a table may ask of its readers that says no other files and rows than are read here."""

_READER_MAX = 3
_ENTRY = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(
    r"(\d{20})\.checkpoint\.(?:\d{10}\.(?P<parts>\d{10})\.parquet|(?:(?P<id>[^.]+)\.)?(?:parquet|json))"
)
_OWN_NAME = re.compile(r"part-\d{6,}-[0-9a-f]{32}\.parquet")
_CHANGES = {
    "DELETE": Change.COPIED,
    "UPDATE": Change.COPIED,
    "RESTORE": Change.DROPPED,
    "TRUNCATE": Change.DROPPED,
    "CREATE OR REPLACE TABLE": Change.DROPPED,
    "CREATE OR REPLACE TABLE AS SELECT": Change.DROPPED,
    "REPLACE TABLE": Change.DROPPED,
    "REPLACE TABLE AS SELECT": Change.DROPPED,
}
_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_B85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"

Action = dict[str, Any]


@dataclass
class _Table:
    """What the log says: the files by name, with size and rows; those of deletion vectors; the
    tokens."""

    dataset: str
    files: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    vectors: dict[str, tuple[str, int]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    lineage: Lineage = field(default_factory=Lineage)

    @property
    def start(self) -> str:
        return f"batten:{self.dataset}:"

    def list_batches(self) -> set[int]:
        """Those of the dataset that it has tokens of."""
        return {int(each.removeprefix(self.start)) for each in self.tokens if self._is_own(each)}

    def begin(self, actions: Iterable[Action]) -> None:
        """From a checkpoint. Which files are of the job, only their names tell, and these only
        where no other job of batten's writes there."""
        added = {}
        for action in actions:
            self._take(action)
            if add := action.get("add"):
                added[self._add(add)] = (add["path"], _count_rows(add))
        is_alone = all(each.startswith(self.start) for each in self.tokens if "batten:" in each)
        for name, (path, rows) in added.items():
            is_own = is_alone and _OWN_NAME.fullmatch(path) and "#" not in name
            self.lineage.begin(name, rows, rows % MANY if is_own else 0, rows)

    def commit(self, number: int, actions: Iterable[Action]) -> None:
        """An entry of the log."""
        added: dict[str, int] = {}
        removed: set[str] = set()
        is_own = is_changed = False
        told: Action = {}
        for action in actions:
            self._take(action)
            if add := action.get("add"):
                added[self._add(add)] = _count_rows(add)
            if remove := action.get("remove"):
                removed.add(_name_of(remove))
                is_changed = is_changed or remove.get("dataChange", True)
            told = action.get("commitInfo") or told
            is_own = is_own or self._is_own((action.get("txn") or {}).get("appId", ""))
        for name in removed - added.keys():
            self.files.pop(name, None)
            self.rows.pop(name, None)
            self.vectors.pop(name, None)
        change, what = _find_change(told, is_changed=is_changed)
        told_entry = f"entry {number} of its log ({what or 'of another program'})"
        # Of a job that replaces its rows only those of now are left.
        rows = _count_written(told) if is_own and change in _REPLACING else None
        self.lineage.commit(
            added, removed - added.keys(), change, is_own=is_own, what=told_entry, own_rows=rows
        )

    def _is_own(self, application: str) -> bool:
        start, _, batch = application.rpartition(":")
        return f"{start}:" == self.start and batch.isdecimal()

    def _take(self, action: Action) -> None:
        if txn := action.get("txn"):
            self.tokens.add(txn["appId"])
        if protocol := action.get("protocol"):
            _refuse_protocol(protocol)

    def _add(self, add: Action) -> str:
        name = _name_of(add)
        self.files[name] = (add["path"], add.get("size"))
        self.rows[name] = _count_rows(add)
        if vector := _find_vector(add):
            self.vectors[name] = vector
        return name


def _refuse_protocol(protocol: Action) -> None:
    unknown = sorted(set(protocol.get("readerFeatures") or ()) - FEATURES)
    version = protocol.get("minReaderVersion") or 0
    if version > _READER_MAX or unknown:
        asked = repr(unknown[0]) if unknown else f"version {version}"
        raise CannotLookError(f"it asks its readers for {asked}")


def _find_change(told: Action, *, is_changed: bool) -> tuple[Change, str]:
    """What became of the rows of removed files, and the name of the operation."""
    operation = str(told.get("operation") or "")
    parameters = told.get("operationParameters") or {}
    if not is_changed:
        return Change.MOVED, operation
    is_overwriting = str(parameters.get("mode", "")).lower() == "overwrite"
    if operation == "WRITE" and is_overwriting and not parameters.get("predicate"):
        return Change.DROPPED, operation
    return _CHANGES.get(operation, Change.UNKNOWN), operation


_REPLACING = (Change.DROPPED, Change.UNKNOWN)


def _count_written(told: Action) -> int | None:
    """How many rows of its own the job gave, where it replaced those it had given before."""
    if str((told.get("operationParameters") or {}).get("mode", "")).lower() != "overwrite":
        return None
    rows = (told.get("operationMetrics") or {}).get("numOutputRows")
    return int(rows) if rows is not None else None


def _name_of(file: Action) -> str:
    """A file with another deletion vector is another one."""
    vector = file.get("deletionVector")
    if not vector:
        return str(file["path"])
    return (
        f"{file['path']}#{vector['storageType']}{vector['pathOrInlineDv']}@{vector.get('offset')}"
    )


def _count_rows(add: Action) -> int:
    """`MANY` where the log does not say."""
    rows = parse_json(add.get("stats") or "{}").get("numRecords")
    if rows is None:
        rows = (add.get("stats_parsed") or {}).get("numRecords")
    if rows is None:
        return MANY
    return int(rows) - int((add.get("deletionVector") or {}).get("cardinality") or 0)


def _find_vector(add: Action) -> tuple[str, int] | None:
    """The file of a deletion vector, with the bytes that it has at least; None for one that lies in
    the log itself."""
    vector = add.get("deletionVector") or {}
    kind, place = vector.get("storageType"), str(vector.get("pathOrInlineDv") or "")
    if kind not in ("u", "p"):
        return None
    if kind == "u":
        told = place[-20:].translate(str.maketrans(_Z85, _B85))
        folder, name = place[:-20], f"deletion_vector_{uuid.UUID(bytes=b85decode(told))}.bin"
        place = f"{folder}/{name}" if folder else name
    return place, int(vector.get("offset") or 0) + int(vector.get("sizeInBytes") or 0)


def look_at_delta(place: str, given: Delivery, *, is_thorough: bool) -> Found:
    """By its log. All of the log is read if it is short, or if the look is thorough."""
    root = given.where.locate(place)
    if not stat.S_ISDIR(find_mode(root)):
        yield tell_gone(given, "the folder of the table is gone")
        return
    log = os.path.join(root, "_delta_log")
    names = sorted(os.listdir(log)) if stat.S_ISDIR(find_mode(log)) else []
    entries = [int(match[1]) for name in names if (match := _ENTRY.fullmatch(name))]
    version, files = _find_checkpoint(names)
    if not entries and version < 0:
        yield tell_gone(given, "the log of the table is gone")
        return
    # A log that is there from its beginning tells more than its checkpoint: what was done to files.
    is_whole = entries == list(range(len(entries))) and len(entries) > max(0, version)
    begin = 0 if is_whole else version + 1
    wanted = [number for number in entries if number >= begin]
    if wanted != list(range(begin, begin + len(wanted))):
        lacking = next(each for each in range(begin, wanted[-1]) if each not in set(wanted))
        yield Code.LACKING_ROWS, f"entry {lacking} of its log is gone, and later ones are there"
        return
    table = _Table(given.dataset)
    told = list(_read(table, log, files, wanted, is_whole=is_whole, is_thorough=is_thorough))
    yield from told or _hold(root, table, given)


def _read(
    table: _Table,
    log: str,
    checkpoint: list[str],
    wanted: list[int],
    *,
    is_whole: bool,
    is_thorough: bool,
) -> Found:
    """Take the log in, from its beginning or its checkpoint; tells what of it is damaged."""
    if checkpoint and is_thorough:
        # A damaged entry is told, even if it is not needed.
        try:
            actions = [each for name in checkpoint for each in _read_checkpoint(log, name)]
        except FileNotFoundError as error:
            yield Code.LACKING_ROWS, f"{os.path.basename(error.filename)} of its log is gone"
            return
        if not is_whole:
            table.begin(actions)
    for number in wanted if is_thorough else wanted[:ENTRIES_MAX]:
        name = f"{number:020}.json"
        try:
            table.commit(number, _read_lines(os.path.join(log, name)))
        except (ValueError, KeyError, TypeError, AttributeError):
            yield Code.LOST_TABLE, f"{name} of its log can't be read"
            return
    if not is_thorough and not is_whole:
        raise CannotLookError("its log begins with a checkpoint, which only verify reads")
    if not is_thorough and len(wanted) > ENTRIES_MAX:
        raise CannotLookError(
            f"its log has more than {ENTRIES_MAX:,} entries, which only verify reads"
        )


def _hold(root: str, table: _Table, given: Delivery) -> Found:
    if given.dataset and (lacking := tell_batches(table.list_batches(), given)):
        yield lacking
        return
    lost = tell_lost(_list_local(root, table))
    if lost:
        yield Code.LACKING_ROWS, lost
        return
    if given.has_own_keys:
        yield from _count_all(table, given)
        return
    if not given.adds_rows or not given.dataset:
        return
    low, high = table.lineage.low, table.lineage.high
    if high < given.rows:
        has = f"{high:,}" if low == high else f"at most {high:,}"
        yield Code.LACKING_ROWS, f"it has {has} of the {count_of(given.rows, 'row')} it was given"
    elif low < given.rows:
        why = table.lineage.doubt or "its checkpoint"
        raise CannotLookError(f"{why} does not tell which of its rows are those that it was given")
    elif away := next((path for path, _ in table.files.values() if not _is_local(path)), ""):
        raise CannotLookError(f"its file {away} is on no disk of this machine")


def _count_all(table: _Table, given: Delivery) -> Found:
    """By key, nobody can tell which rows are its own: there are at least so many."""
    rows = sum(table.rows.values())
    if rows >= MANY:
        raise CannotLookError("its log does not tell how many rows its files have")
    if rows < given.rows:
        yield tell_rows(rows, given)


def _list_local(root: str, table: _Table) -> Iterator[tuple[str, str, int | None]]:
    for path, size in table.files.values():
        if _is_local(path):
            yield path, _find_local(root, path), size
    for path, bytes_min in table.vectors.values():
        if _is_local(path):
            local = _find_local(root, path)
            is_short = stat.S_ISREG(find_mode(local)) and os.stat(local).st_size < bytes_min
            yield path, local, bytes_min if is_short else None


def _is_local(path: str) -> bool:
    return "://" not in path or path.startswith("file://")


def _find_local(root: str, path: str) -> str:
    from urllib.parse import unquote

    if path.startswith("file:"):
        return "/" + unquote(path.removeprefix("file:")).lstrip("/")
    return os.path.join(root, unquote(path))


def _read_lines(path: str) -> Iterator[Action]:
    """Raises `ValueError` for what is no file, and might never end, or is too large."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode) or found.st_size > ENTRY_BYTES_MAX:
        raise ValueError(f"{os.path.basename(path)} is no file of a table's log")
    with open(path, "rb") as file:
        for line in file:
            if line.strip():
                yield parse_json(line)


def _find_checkpoint(names: Iterable[str]) -> tuple[int, list[str]]:
    """Version and files of the last that is whole; -1 where there is none."""
    found: dict[tuple[int, int, str], list[str]] = {}
    for name in names:
        if match := _CHECKPOINT.fullmatch(name):
            key = (int(match[1]), int(match["parts"] or 1), match["id"] or "")
            found.setdefault(key, []).append(name)
    whole = [key for key, files in found.items() if len(files) == key[1]]
    return (max(whole)[0], found[max(whole)]) if whole else (-1, [])


def _read_checkpoint(log: str, name: str, *, is_sidecar: bool = False) -> Iterator[Action]:
    path = os.path.join(log, "_sidecars", name) if is_sidecar else os.path.join(log, name)
    read = _read_lines if name.endswith(".json") else _read_parquet
    for action in read(path):
        if (sidecar := action.get("sidecar")) and not is_sidecar:
            # They may be named with their folder, and lie in no other.
            base = os.path.basename(sidecar["path"])
            yield from _read_checkpoint(log, base, is_sidecar=True)
        else:
            yield action


def _read_parquet(path: str) -> Iterator[Action]:
    import pyarrow.parquet as pq

    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{os.path.basename(path)} is no file")
    fields = (
        *("add.path", "add.size", "add.stats", "add.stats_parsed.numRecords", "add.deletionVector"),
        *("txn.appId", "sidecar.path", "protocol"),
    )
    with pq.ParquetFile(path) as reader:
        there = [reader.schema.column(each).path for each in range(len(reader.schema))]
        wanted = [each for each in there if f"{each}.".startswith(tuple(f"{f}." for f in fields))]
        for rows in reader.iter_batches(columns=wanted):
            yield from rows.to_pylist()
