"""Files of rows that a hand-made job wrote: JSON Lines, CSV, Parquet, and JSON with one row.

They are read from end to end, and single rows of them again by their place. They are only ever
read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from batten.errors import RefusedError, UsageError
from batten.model.json_text import parse_json
from batten.model.telling.sizes import show_bytes
from batten.model.value_class import value_class
from batten.sources.base import ItemsWanted, Unavailable
from batten.sources.identity.keys import SourceChanged
from batten.sources.paths import show_path
from batten.sources.records.csv import CsvSyntax
from batten.sources.records.decoded import PLAIN
from batten.sources.records.input_files import LocalFile
from batten.sources.records.jsonl import JsonLinesSyntax
from batten.sources.records.parquet import ParquetReader, ParquetSource
from batten.sources.records.text import BYTE_ORDER_MARK, RecordFile, Syntax
from batten.strangers.files import UNCHANGED, observe, translate
from batten.strangers.lines import TORN, explain_malformed, find_kind

JSON_BYTES_MAX = 1 << 26

_ROWS_AT_A_TIME = 4096


@value_class
class FoundRow:
    """What stands at a place of a file: a row, or `why` there is none. `line` counts from 1, as
    people count lines or rows; `place` is what the row is found again by."""

    place: int
    line: int
    row: dict[str, Any] | None = None
    why: str = ""


class RowFile(Protocol):
    """A file of rows. `is_text`: its values are all texts. `name` is its key where rows have none,
    or empty."""

    path: str
    name: str
    is_text: bool

    def scan(self) -> Iterator[FoundRow]: ...

    def load(self, place: int) -> dict[str, Any]:
        """The row at a place that `scan` gave. Raises `RefusedError` if none is there."""
        ...

    def refuse_changed(self) -> None:
        """Raise `RefusedError` if the file is not what it was when it was opened first."""
        ...


def open_rows(path: str, name: str = "") -> RowFile:
    """The file as its name and its beginning say. Raises `UsageError` for what is no file."""
    observe(path)
    if path.endswith(".json"):
        return JsonFile(path, name)
    kind = find_kind(path)
    if kind == "parquet":
        return ParquetRows(path, name)
    return TextFile(path, name, is_text=kind == "csv")


class _Unchanging:
    """A file that is to stay as it is when it is opened first."""

    def __init__(self, path: str, name: str) -> None:
        self.path = path
        self.name = name
        self._seen = observe(path)

    def refuse_changed(self) -> None:
        if observe(self.path) != self._seen:
            raise changed(self.path)


class TextFile(_Unchanging):
    """JSON Lines; or CSV with a header, whose values are texts."""

    def __init__(self, path: str, name: str, *, is_text: bool) -> None:
        super().__init__(path, name)
        self.is_text = is_text
        self._open: tuple[RecordFile, Syntax] | None = None

    def scan(self) -> Iterator[FoundRow]:
        try:
            file = RecordFile(LocalFile(Path(self.path)))
            try:
                yield from self._scan(file)
            finally:
                file.close()
        except OSError as error:
            raise translate(error, self.path) from error

    def _scan(self, file: RecordFile) -> Iterator[FoundRow]:
        found = self._begin(file)
        if found is None:
            return
        syntax, line = found
        place = 0
        try:
            for record in file.records(syntax, line=line):
                line, place = record.line, record.offset
                yield self._read(syntax, record.data, place, line)
        except ValueError as error:
            yield FoundRow(place=place, line=line, why=str(error))

    def _read(self, syntax: Syntax, data: bytes, place: int, line: int) -> FoundRow:
        is_ended = data.endswith(b"\n")
        try:
            row = syntax.parse(data)
        except ValueError as error:
            why = f"no row of CSV: {error}" if self.is_text else explain_malformed(data)
            return FoundRow(place=place, line=line, why=why if is_ended else TORN)
        if not isinstance(row, dict):
            return FoundRow(place=place, line=line, why="not a JSON object")
        # Half a number is a number, too.
        if self.is_text and not is_ended:
            return FoundRow(place=place, line=line, why=TORN)
        return FoundRow(place=place, line=line, row=row)

    def _begin(self, file: RecordFile) -> tuple[Syntax, int] | None:
        """What divides the file into records, and the number of the first line of the first."""
        if not self.is_text:
            return JsonLinesSyntax(), 1
        syntax = CsvSyntax(",", [], PLAIN)
        header = next(file.records(syntax), None)
        if header is None:
            return None
        try:
            names = syntax.parse_fields(header.data)
        except ValueError as error:
            raise _refuse_header(self.path, str(error)) from error
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise _refuse_header(self.path, f"its header names {twice!r} more than once")
        return CsvSyntax(",", names, PLAIN), header.line + header.data.count(b"\n")

    def load(self, place: int) -> dict[str, Any]:
        try:
            if self._open is None:
                file = RecordFile(LocalFile(Path(self.path)))
                begun = self._begin(file)
                if begun is None:
                    raise changed(self.path)
                self._open = file, begun[0]
            file, syntax = self._open
            row: dict[str, Any] = syntax.parse(file.record_at(place, syntax))
        except (ValueError, SourceChanged) as error:
            raise changed(self.path) from error
        except OSError as error:
            raise translate(error, self.path) from error
        return row


class JsonFile(_Unchanging):
    """One object, or a list of them."""

    is_text = False

    def scan(self) -> Iterator[FoundRow]:
        if self._seen[0] > JSON_BYTES_MAX:
            yield FoundRow(place=0, line=1, why=f"more than {show_bytes(JSON_BYTES_MAX)} of JSON")
            return
        try:
            rows = self._load()
        except ValueError:
            yield FoundRow(place=0, line=1, why="not JSON, or cut short")
            return
        for place, row in enumerate(rows):
            why = "" if isinstance(row, dict) else "not a JSON object"
            yield FoundRow(place=place, line=place + 1, row=None if why else row, why=why)

    def load(self, place: int) -> dict[str, Any]:
        try:
            row: dict[str, Any] = self._load()[place]
        except (ValueError, IndexError) as error:
            raise changed(self.path) from error
        return row

    def _load(self) -> list[Any]:
        try:
            data = Path(self.path).read_bytes()
        except OSError as error:
            raise translate(error, self.path) from error
        value = parse_json(data.removeprefix(BYTE_ORDER_MARK))
        return value if isinstance(value, list) else [value]


class ParquetRows(_Unchanging):
    """Rows of Parquet; its place is the number of a row."""

    is_text = False

    def __init__(self, path: str, name: str) -> None:
        super().__init__(path, name)
        self._reader: ParquetReader | None = None

    def scan(self) -> Iterator[FoundRow]:
        rows = self._source().count_items() or 0
        for start in range(0, rows, _ROWS_AT_A_TIME):
            places = range(start, min(start + _ROWS_AT_A_TIME, rows))
            for place, row in zip(places, self._read(places), strict=True):
                if isinstance(row, Unavailable):
                    yield FoundRow(place=place, line=place + 1, why=str(row.error))
                else:
                    yield FoundRow(place=place, line=place + 1, row=row)

    def load(self, place: int) -> dict[str, Any]:
        (row,) = self._read(range(place, place + 1))
        if isinstance(row, Unavailable):
            raise changed(self.path) from row.error
        found: dict[str, Any] = row
        return found

    def _source(self) -> ParquetSource:
        return ParquetSource(self.path, folder=Path())

    def _read(self, places: range) -> Iterator[Any]:
        if self._reader is None:
            self._reader = self._source().open()
        wanted = ItemsWanted(first_ordinal=places.start, count=len(places), positions=places)
        return iter(self._reader.read(wanted))


def _refuse_header(path: str, why: str) -> UsageError:
    return UsageError(
        f"{show_path(Path(path))} can't be read as CSV: {why}.",
        safe=UNCHANGED,
        next="Write it anew as UTF-8, each column under a name of its own.",
    )


def changed(path: str) -> RefusedError:
    return RefusedError(
        f"{show_path(Path(path))} has changed since its rows were looked through.",
        safe="Nothing of it was changed; what was adopted stays.",
        next="Stop the job that writes there, then run the same command again.",
    )
