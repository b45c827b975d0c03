"""A folder of all rows in Parquet files, by the values of columns: `day=2026-04-24/…`.

A batch has rows of many partitions, and the files of a batch can't appear in one step. So the
folder is made whole beside its place when the dataset is complete, and the two exchange their names
(decision 0103). The names and sizes of its files are recorded before that, and what it replaces. So
a crash leaves one of the two; any other content was changed by someone else, and is never replaced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from batten.errors import (
    BATCHES_KEPT,
    InconsistentError,
    RefusedError,
    StorageError,
    refused_there,
    usage_error,
)
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.destinations.tokens import PublishEnd, Token, TokenState
from batten.model.disk.throwaway_names import find_staging_owner
from batten.model.telling.counts import count_of
from batten.model.telling.type_names import show_type
from batten.model.value_class import value_class
from batten.model.words import Takes
from batten.sinks.base import AtPath, LedgerPlace, RejectedError, Staged
from batten.sinks.located import locate_file
from batten.sinks.rows.rejecting import UnstorableError, find_rejected
from batten.storage.base import Folder
from batten.storage.changing.publishing import fresh_name
from batten.storage.relative import folder_of, last_piece

if TYPE_CHECKING:
    import pyarrow as pa

NULL = "__HIVE_DEFAULT_PARTITION__"
"""What stands for null in the name of a folder, for all readers."""

PARTITIONS_MAX = 10_000
FILES_MAX = 100_000
NAME_BYTES_MAX = 255
PIECE_ROWS = 1 << 20
PIECE_BYTES = 1 << 27
"""So many rows are divided at a time; each partition of them gets a file."""

Files = Mapping[str, str]
"""Their size and SHA-256, `<size> <digest>`, by their names within the folder."""


@value_class
class HiveSink(AtPath):
    """The folder at `path`, divided by `columns`, the outermost first."""

    path: Path
    columns: tuple[str, ...]
    kind: ClassVar[str] = "hive"
    takes: ClassVar[Takes] = Takes.DATASET
    dataset: ClassVar[str] = ""
    may_reject: ClassVar[bool] = True

    def fill(self, fill: Callable[[str], str]) -> HiveSink:
        return replace(self, path=Path(fill(str(self.path))))

    def check(self) -> None:
        """Needs nothing that batten does not."""

    def open(self, ground: LedgerPlace) -> HiveDestination:
        return HiveDestination(self, ground)


class HiveDestination:
    """The folder of one ledger; see the module."""

    def __init__(self, sink: HiveSink, ground: LedgerPlace) -> None:
        self._columns = sink.columns
        self._book = ground.book
        self._storage, self._name = locate_file(ground.storage, ground.book.target)
        entry = self._storage.find(self._name)
        what = ""
        if entry is not None and not entry.is_folder:
            what = "something that is no folder is there"
        elif self._book.find() is None and any(self._storage.list_names(self._name)):
            what = "batten did not make what is in it"
        if what:
            raise RefusedError(
                f"{self._name} would be replaced, and {what}.",
                safe="It was not touched.",
                next="Move it away and run again, or write to another folder.",
            )

    def prepare(self, schema: pa.Schema) -> None:
        if len(schema.names) == 1:
            return  # There are no rows to divide.
        for name in self._columns:
            if name not in schema.names[1:]:
                what = "is the key" if name in schema.names else "is not there"
                raise refused_there(
                    f"{self._name} can't be divided by {name!r}: the column {what}.",
                    f"Divide it by one of: {', '.join(schema.names[1:]) or 'none'}.",
                )
            if not _may_divide(schema.field(name).type):
                raise refused_there(
                    f"{self._name} can't be divided by {name!r}, which is "
                    f"{show_type(schema.field(name).type)}.",
                    "Divide it by texts, whole numbers, dates or truths.",
                )

    def lookup(self, tokens: Sequence[Token]) -> list[TokenState]:
        self._delete_throwaways()
        record = self._book.find()
        if record is None or not record.content or self._list_there() != _sizes_of(record.files):
            return [TokenState.ABSENT for _ in tokens]
        # Who put it there may have been killed before it was durable.
        if self._storage.find(self._name) is None:
            return [TokenState.ABSENT for _ in tokens]
        self._storage.sync_names(folder_of(self._name))
        return [
            TokenState.SAME if self._tell_content(token) == record.content else TokenState.ABSENT
            for token in tokens
        ]

    def list_closed(self, tokens: Sequence[Token]) -> list[Token]:
        """None: it is made anew."""
        return []

    def publish(self, staged: Staged) -> PublishEnd:
        replaced = self._list_replaced()
        self._delete_throwaways()
        base = f".{last_piece(self._name)}"
        made = fresh_name(folder_of(self._name), base).lstrip("/")
        try:
            files = self._make(made, staged)
        except BaseException:
            with suppress(StorageError):
                self._storage.delete_tree(made)
            raise
        self._save(staged, files, replaced, self._tell_content(staged.token))
        is_there = self._storage.find(self._name) is not None
        if is_there:
            self._storage.exchange(made, self._name)
        else:
            self._storage.replace(made, self._name)
        try:
            self._storage.sync_names(folder_of(self._name))
        except StorageError:
            # No other sync would make it durable: the next run makes the folder anew.
            with suppress(StorageError):
                self._save(staged, files, replaced, "")
            raise
        if is_there:
            self._storage.delete_tree(made)
        return PublishEnd.COMMITTED

    def rehearse(self, staged: Staged) -> None:
        def attempt(rows: pa.Table) -> Exception | None:
            try:
                for _ in _divide(rows, self._columns, self._name):
                    pass
            except RefusedError as error:
                return UnstorableError(error.what)
            return None

        if rejected := find_rejected(staged, staged, attempt, self._name):
            raise RejectedError(rejected)

    def close(self) -> None:
        """Nothing is held open."""

    def _make(self, made: str, staged: Staged) -> dict[str, str]:
        """The whole folder, durable under that name; its files."""
        from batten.sinks.parquet import encode_rows

        storage, files = self._storage, dict[str, str]()
        storage.ensure_folder(made)
        folders: set[str] = set()
        for number, table in enumerate(_cut(staged)):
            for folder, rows in _divide(table, self._columns, self._name):
                data = memoryview(encode_rows(rows))
                name = f"{folder}/part-{number:06}.parquet"
                folders.update(_list_above(folder))
                if len(folders) > PARTITIONS_MAX or len(files) >= FILES_MAX:
                    raise self._too_many()
                storage.ensure_folder(f"{made}/{folder}")
                storage.stage(f"{made}/{name}", data, is_synced=True)
                files[name] = f"{data.nbytes} {hashlib.sha256(data).hexdigest()}"
        for folder in folders:
            storage.sync_names(f"{made}/{folder}")
        storage.sync_names(made)
        return files

    def _too_many(self) -> RefusedError:
        return RefusedError(
            f"{self._name} would have more than {PARTITIONS_MAX} partitions, or {FILES_MAX} files.",
            safe=f"It is as before; {BATCHES_KEPT}",
            next="Divide it by a column of fewer values, a month in the place of a day.",
        )

    def _save(self, staged: Staged, files: Files, replaced: str, content: str) -> None:
        self._book.save(
            batches=staged.batches,
            rows=staged.rows,
            content=content,
            size=sum(_sizes_of(files).values()),
            replaces=replaced,
            files=files,
        )

    def _tell_content(self, token: Token) -> str:
        """The same rows divided otherwise are another content."""
        told = "\n".join([token.digest, *self._columns])
        return f"sha256:{hashlib.sha256(told.encode()).hexdigest()}"

    def _list_replaced(self) -> str:
        """What stands for the files there are. Raises `InconsistentError` if they are not those
        that batten put there."""
        record, there = self._book.find(), self._list_there()
        if record is None or not there:
            return digest_listing(there)
        self._storage.sync_names(folder_of(self._name))
        digest = digest_listing(there)
        if there == _sizes_of(record.files) or digest == record.replaces:
            return digest
        raise InconsistentError(
            f"{self._name} was changed by another program since batten wrote it: "
            f"{tell_difference(record, there)}.",
            safe="It was not touched.",
            next="Move it away and run again: it is made anew.",
        )

    def _list_there(self) -> dict[str, int]:
        return list_files(self._storage, self._name)

    def _delete_throwaways(self) -> None:
        """Nobody else would find what a killed run left: the lock says that it is dead."""
        start = f".{last_piece(self._name)}."
        for entry in list(self._storage.list(folder_of(self._name))):
            name = last_piece(entry.name)
            if name.startswith(start) and find_staging_owner(name) is not None:
                self._storage.delete_tree(entry.name)


def list_files(storage: Folder, folder: str) -> dict[str, int]:
    """The sizes of all files in a folder and below it, by their names within it."""
    found: dict[str, int] = {}
    left = [folder]
    while left:
        for entry in list(storage.list(left.pop())):
            if entry.is_folder:
                left.append(entry.name)
            else:
                found[entry.name[len(folder) + 1 :]] = entry.size
    return found


def tell_difference(record: Delivery, there: Mapping[str, int]) -> str:
    """The first file that is not as it was recorded."""
    recorded = _sizes_of(record.files)
    gone = sorted(recorded.keys() - there.keys())
    if gone:
        return f"{gone[0]} is gone"
    more = sorted(there.keys() - recorded.keys())
    if more:
        return f"{more[0]} is there"
    changed = sorted(name for name, size in recorded.items() if there[name] != size)
    return f"{changed[0]} has {count_of(there[changed[0]], 'byte')}" if changed else "nothing"


def _sizes_of(files: Files) -> dict[str, int]:
    return {name: int(told.partition(" ")[0]) for name, told in files.items()}


def digest_listing(sizes: Mapping[str, int]) -> str:
    """What stands for files of these names and sizes; empty for none."""
    told = "".join(f"{name}:{size}\n" for name, size in sorted(sizes.items()))
    return hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest() if told else ""


def _list_above(folder: str) -> Iterator[str]:
    """The folder and those that it lies in."""
    while folder:
        yield folder
        folder = folder_of(folder)


def _may_divide(kind: pa.DataType) -> bool:
    import pyarrow as pa

    kinds = pa.types
    return bool(
        kinds.is_string(kind)
        or kinds.is_large_string(kind)
        or kinds.is_integer(kind)
        or kinds.is_boolean(kind)
        or kinds.is_date32(kind)
        or (kinds.is_dictionary(kind) and _may_divide(kind.value_type))
    )


def _cut(staged: Staged) -> Iterator[pa.Table]:
    """The rows in tables: where one ends, depends on the rows alone."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in staged.read():
        held.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= PIECE_ROWS or size >= PIECE_BYTES:
            yield pa.Table.from_batches(held, schema=staged.schema)
            held, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(held, schema=staged.schema)


def _divide(table: pa.Table, columns: Sequence[str], target: str) -> Iterator[tuple[str, pa.Table]]:
    """The folder of each partition, in the order of its first row, and its rows in their order."""
    values = [table.column(name).to_pylist() for name in columns]
    places: dict[tuple[Any, ...], list[int]] = {}
    for place, key in enumerate(zip(*values, strict=True)):
        places.setdefault(key, []).append(place)
    rest = table.drop_columns(list(columns))
    for key, own in places.items():
        named = zip(columns, key, strict=True)
        folder = "/".join(_name_partition(target, name, value) for name, value in named)
        yield folder, rest.take(own)


def _name_partition(target: str, column: str, value: Any) -> str:
    named = f"{quote(column, safe='')}={_write_value(target, column, value)}"
    if len(named.encode()) > NAME_BYTES_MAX:
        raise _unnameable(target, column, f"{value[:20]}…", "is too long for the name of a folder")
    return named


def _write_value(target: str, column: str, value: Any) -> str:
    """As readers of hive's folders read it: they undo the escapes of addresses."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):
        return value.isoformat()
    if value == NULL:
        raise _unnameable(target, column, value, "stands for null there")
    return quote(str(value), safe="")


def _unnameable(target: str, column: str, value: str, why: str) -> RefusedError:
    return RefusedError(
        f"{target} can't have a partition of the column {column!r} for {value!r}, which {why}.",
        safe=f"It is as before; {BATCHES_KEPT}",
        next="Divide it by another column.",
    )


def read_columns(given: Any) -> tuple[str, ...]:
    """The names that `partition_by=` gives. Raises `UsageError` for none, and for one twice."""
    columns = (given,) if isinstance(given, str) else tuple(given)
    is_right = all(isinstance(each, str) and each for each in columns)
    if not columns or not is_right or len(set(columns)) < len(columns):
        raise usage_error(
            f"partition_by= is {given!r}.",
            'Name a column, or several, each once: partition_by=["year", "month"].',
        )
    return columns
