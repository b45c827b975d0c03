"""Rows of Parquet files."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batten.model.disk.items.row_digests import DIGEST_BYTES
from batten.model.disk.items.versions import UNKNOWN
from batten.model.telling.type_names import show_type
from batten.model.value_class import value_class
from batten.sources.base import ItemsWanted, ScanBlock, Unavailable
from batten.sources.blocks import wanted_ordinals
from batten.sources.identity.digests import (
    check_version,
    digest_rows,
    find_difference,
    refuse_changed,
    split_digests,
)
from batten.sources.identity.keys import (
    NoKey,
    SourceChanged,
    check_key,
    escape_key,
    make_field_key,
    require_columns,
    require_field_name,
)
from batten.sources.identity.versions import check_changed
from batten.sources.paths import (
    absent_input,
    show_path,
    source_error,
    translated_errors,
)
from batten.sources.records.input_files import InputFile, find_input
from batten.sources.records.parquet_scan import (
    ParquetPart,
    open_parquet,
    opened,
    scan_keys,
    scan_rows,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS_AT_A_TIME = 256
"""How many rows become Python objects at once."""


class ParquetSource:
    """The rows, as dicts, of a Parquet file, or of the `*.parquet` files of a folder in the order
    of their names.

    Names that begin with a dot or an underscore are passed over, as are folders within the folder.
    `columns` are the columns that items have; None means all. Without `key`, a column of text or
    integers, the number of the row is the key. A row whose key is null is `Unavailable`, and its
    key is `//row:17`, counted from 0.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | None = None,
        folder: Path,
        columns: Sequence[str] | None = None,
        changed: str = "content",
        removed: str = "keep",
    ) -> None:
        check_changed("from_parquet", changed, removed, has_key=key is not None)
        self._keeps_digests = key is None or changed == "content"
        self.drops_gone = removed == "drop"
        self._input, self._written = find_input(path, folder)
        self._key = require_field_name(key)
        self._columns = require_columns(columns)
        self._parts: list[ParquetPart] | None = None
        self._left_out: frozenset[str] = frozenset()

    def without(self, places: Sequence[Path]) -> ParquetSource:
        """The same without the files at these places."""
        other = copy(self)
        other._parts = None
        other._left_out = frozenset(map(os.path.realpath, places))
        return other

    @property
    def identity(self) -> dict[str, str]:
        identity = {"source": f"parquet {escape_key(self._written)}"}
        if self._key is not None:
            identity["key"] = self._key
        if self._columns is not None:
            identity["columns"] = json.dumps(self._columns)
        return identity

    is_counted = False
    has_kinds = False

    @property
    def is_keyed(self) -> bool:
        return self._key is not None

    @property
    def inputs(self) -> tuple[Path | str, ...]:
        return (self._input.place,)

    def count_items(self) -> int | None:
        return None if self.is_keyed else _count_rows(self._load_parts())

    def scan(self) -> Iterator[ScanBlock]:
        self._parts = None
        parts = self._load_parts()
        for part in parts:
            with _translated_damage(part.file):
                if self._key is None:
                    yield from scan_rows(part, self._columns)
                else:
                    yield from scan_keys(
                        part, self._columns, self._key, keeps_digests=self._keeps_digests
                    )

    def open(self) -> ParquetReader:
        return ParquetReader(self._load_parts(), self._key, self._columns, self._keeps_digests)

    def _load_parts(self) -> list[ParquetPart]:
        """The files and how many rows each has, looked at once between scans; workers inherit
        it."""
        if self._parts is None:
            parts = []
            start = 0
            for file in self._find_files():
                with _translated_damage(file):
                    rows = self._require_columns(file)
                parts.append(ParquetPart(file=file, start=start, rows=rows))
                start += rows
            self._parts = parts
        return self._parts

    def _find_files(self) -> list[InputFile]:
        files = self._input.list_files(_is_part)
        if files is None:
            self._input.require()
            return [self._input]
        files = [file for file in files if not file.is_among(self._left_out)]
        if not files:
            shown = show_path(self._input.place)
            raise absent_input(f"There are no *.parquet files directly in {shown}.")
        return files

    def _require_columns(self, source: InputFile) -> int:
        """The number of rows of a file that has the columns. Raises `UsageError` for one that has
        not."""
        with opened(source) as file:
            schema = file.schema_arrow
            names = schema.names
            wanted = [*(self._columns or ()), *([] if self._key is None else [self._key])]
            missing = sorted(set(wanted) - set(names))
            if missing:
                problem = f"has no column {', '.join(map(repr, missing))}, but {', '.join(names)}"
            elif len(set(names)) < len(names):
                problem = f"has several columns of the same name: {', '.join(names)}"
            elif self._key is not None and not _is_key_type(schema.field(self._key).type):
                problem = (
                    f"has keys of type {show_type(schema.field(self._key).type)} in {self._key!r}"
                )
            else:
                return int(file.metadata.num_rows)
        raise source_error(
            f"{show_path(source.place)} {problem}.",
            "Correct the file, or key= and columns=. A key is text or an integer.",
        )


@value_class
class _RowGroup:
    """Rows `start` to `stop` (exclusive), numbered over all files, or the error that reading them
    gave."""

    start: int
    stop: int
    rows: pa.Table | Exception


class ParquetReader:
    """Gives rows by number; keeps one file open and one row group in memory."""

    def __init__(
        self,
        parts: Sequence[ParquetPart],
        key: str | None,
        columns: list[str] | None,
        keeps_digests: bool,
    ) -> None:
        self._parts = parts
        self._keeps_digests = keeps_digests
        self._starts = [part.start for part in parts]
        self._key = key
        self._columns = columns
        self._is_key_extra = columns is not None and key is not None and key not in columns
        self._part: ParquetPart | None = None
        self._file: pq.ParquetFile | None = None
        self._group_starts: list[int] = []
        self._group = _RowGroup(start=0, stop=0, rows=LookupError())

    def read(self, wanted: ItemsWanted) -> Iterator[Any | Unavailable]:
        positions = wanted_ordinals(wanted) if wanted.positions is None else wanted.positions
        index = 0
        while index < len(positions):
            for row, digest in self._read_run(positions, index, wanted):
                yield row if wanted.keys is None else self._check(row, digest, wanted, index)
                index += 1

    def _read_run(
        self, positions: Sequence[int], index: int, wanted: ItemsWanted
    ) -> Iterable[tuple[Any | Unavailable, bytes]]:
        """The rows from `index` on that follow each other in one row group, at least one, and their
        digests where these are to be compared. Raises `RefusedError` for one that the plan knows by
        its content alone, and that is another."""
        digests = wanted.digests if self._key is None else None
        first = positions[index]
        group = self._load_group(first)
        count = 1
        count_max = min(len(positions) - index, group.stop - first, ROWS_AT_A_TIME)
        while count < count_max and positions[index + count] == first + count:
            count += 1
        if isinstance(group.rows, Exception):
            if digests is not None and isinstance(group.rows, SourceChanged):
                raise refuse_changed(self._show_part(first), first) from group.rows
            return [(Unavailable(group.rows), UNKNOWN)] * count
        rows = group.rows.slice(first - group.start, count)
        if digests is not None:
            planned = digests[index * DIGEST_BYTES : (index + count) * DIGEST_BYTES]
            differs = find_difference(planned, digest_rows(rows))
            if differs is not None:
                raise refuse_changed(self._show_part(first), first + differs)
        own = [UNKNOWN] * count
        if self._key is not None and wanted.digests is not None and self._keeps_digests:
            kept = rows if self._columns is None else rows.select(self._columns)
            own = list(split_digests(digest_rows(kept)))
        return zip(convert_rows(rows), own, strict=True)

    def _show_part(self, row: int) -> str:
        return show_path(self._parts[bisect_right(self._starts, row) - 1].file.place)

    def _check(self, row: Any, digest: bytes, wanted: ItemsWanted, index: int) -> Any | Unavailable:
        if self._key is None or wanted.keys is None or isinstance(row, Unavailable):
            return row
        key = wanted.keys[index]
        try:
            check_key(make_field_key(row, self._key), key)
        except (NoKey, SourceChanged) as error:
            return Unavailable(error)
        if wanted.digests is not None:
            planned = wanted.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
            check_version(show_path(self._parts[0].file.place), key, planned, digest)
        if self._is_key_extra:
            del row[self._key]
        return row

    def _load_group(self, row: int) -> _RowGroup:
        if not self._group.start <= row < self._group.stop:
            part = self._parts[bisect_right(self._starts, row) - 1]
            with translated_errors(part.file.place):
                self._group = self._read_group(part, row)
        return self._group

    def _read_group(self, part: ParquetPart, row: int) -> _RowGroup:
        import pyarrow as pa

        start, stop = part.start, part.start + part.rows
        if row >= stop:
            error = SourceChanged(
                f"there is no row {row + 1} any more: the source has changed since"
            )
            return _RowGroup(start=stop, stop=row + 1, rows=error)
        try:
            file = self._switch(part)
            number = bisect_right(self._group_starts, row) - 1
            start = self._group_starts[number]
            stop = start + file.metadata.row_group(number).num_rows
            columns = self._columns
            if columns is not None and self._key is not None and self._is_key_extra:
                columns = [*columns, self._key]
            table = file.read_row_group(number, columns=columns, use_threads=False)
            if table.num_rows != stop - start:
                raise LookupError(f"a row group of {stop - start} rows gave {table.num_rows}")
            rows = table if columns is None else table.select(columns)
        except (pa.ArrowException, OSError, LookupError) as found:
            if isinstance(found, OSError) and found.errno is not None:
                raise
            return _RowGroup(start=start, stop=stop, rows=found)
        return _RowGroup(start=start, stop=stop, rows=rows)

    def _switch(self, part: ParquetPart) -> pq.ParquetFile:
        """The file of the part, opened where it is not yet."""
        if self._file is None or self._part is not part:
            file = open_parquet(part.file)
            starts = [part.start]
            for number in range(file.metadata.num_row_groups):
                starts.append(starts[-1] + file.metadata.row_group(number).num_rows)
            if starts.pop() != part.start + part.rows:
                raise SourceChanged(
                    f"{show_path(part.file.place)} has changed since it was planned"
                )
            self._part, self._file, self._group_starts = part, file, starts
        return self._file


def convert_rows(table: pa.Table) -> Sequence[Any | Unavailable]:
    """The rows as dicts; where some value is beyond Python, row by row."""
    try:
        rows: list[Any] = table.to_pylist()
    except (ValueError, OverflowError) as error:
        if table.num_rows == 1:
            return [Unavailable(error)]
        return [convert_rows(table.slice(row, 1))[0] for row in range(table.num_rows)]
    return rows


def _is_part(name: str) -> bool:
    return name.endswith(".parquet") and not name.startswith((".", "_"))


def _count_rows(parts: Sequence[ParquetPart]) -> int:
    return sum(part.rows for part in parts)


def _is_key_type(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_integer(kind)
    )


@contextmanager
def _translated_damage(source: InputFile) -> Iterator[None]:
    """Raises what pyarrow says of a damaged file on as `UsageError`, and of a failing disk as
    `StorageError`."""
    import pyarrow as pa

    try:
        with translated_errors(source.place):
            try:
                yield
            except OSError as error:
                if error.errno is not None:
                    raise
                raise pa.ArrowInvalid(str(error)) from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise source_error(
            f"{show_path(source.place)} cannot be read as Parquet: {error}.",
            "Make the file anew, or take it out of the source.",
        ) from error
