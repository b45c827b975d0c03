"""Text files of records, one item each, which are found again by the offset of their first byte.

What divides a file into records and what a record means is a `Syntax`; scanning, seeking and keys
are the same for all of them.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from batten.model.disk.items.row_digests import DIGEST_BYTES
from batten.model.disk.items.versions import UNKNOWN
from batten.sources.base import ItemsWanted, ScanBlock, Unavailable
from batten.sources.blocks import cut_blocks
from batten.sources.identity.digests import (
    check_version,
    digest_records,
    refuse_changed,
)
from batten.sources.identity.keys import (
    NoKey,
    SourceChanged,
    check_key,
    escape_key,
    make_field_key,
    require_field_name,
    stand_in_key,
)
from batten.sources.identity.versions import check_changed
from batten.sources.paths import show_path, source_error, translated_errors
from batten.sources.records.decoded import PLAIN, open_text, read_encoding
from batten.sources.records.input_files import InputFile, find_input
from batten.storage.reading import close_with

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

RECORD_BYTES_MAX = 64 * 1024 * 1024
"""A record of several lines that grows beyond this has a quote that nobody closed."""


class TextRecord(NamedTuple):
    """`line` is the number of its first line, from 1."""

    offset: int
    line: int
    data: bytes


class Syntax(Protocol):
    """How a file divides into records, and what they mean."""

    @property
    def blank(self) -> bytes:
        """A record of nothing but these bytes is no item."""
        ...

    def is_open_after(self, line: bytes, is_open: bool) -> bool:
        """Whether the record goes on after this line; `is_open` where it began before it."""
        ...

    def parse(self, data: bytes) -> Any:
        """The item. Raises `ValueError` for a malformed record."""
        ...

    @property
    def head(self) -> bytes:
        """What of the file says what its records mean, beside themselves."""
        ...


class RecordFile:
    """A file that is open for reading records; it closes itself when nothing refers to it."""

    def __init__(self, source: InputFile, encoding: str = PLAIN) -> None:
        self._file = open_text(source, encoding)
        self._finalizer = close_with(self, self._file)
        self.start = len(BYTE_ORDER_MARK) if self._file.peek(3)[:3] == BYTE_ORDER_MARK else 0
        self._file.seek(self.start)
        self._offset: int | None = self.start

    def records(self, syntax: Syntax, *, line: int = 1) -> Iterator[TextRecord]:
        """The records from where the file stands, blank ones left out; `line` is the number of the
        line that it stands at. Raises `ValueError` for a record that never ends."""
        offset = self._file.tell()
        self._offset = None
        held: list[bytes] = []
        size = 0
        is_open = False
        for data in self._file:
            is_open = syntax.is_open_after(data, is_open)
            if not held and not is_open:
                start, offset = offset, offset + len(data)
                number, line = line, line + 1
                if data.strip(syntax.blank):
                    self._offset = offset
                    yield TextRecord(start, number, data)
                continue
            held.append(data)
            size += len(data)
            if is_open and size <= RECORD_BYTES_MAX:
                continue
            if is_open:
                break
            record = TextRecord(offset, line, b"".join(held))
            offset += size
            line += len(held)
            held, size = [], 0
            if record.data.strip(syntax.blank):
                self._offset = offset
                yield record
        if held:
            raise ValueError(f"the quote that opens in line {line} is never closed")

    def read_lines(self, size: int) -> list[bytes]:
        """The next lines, as many as have about that size; none at the end."""
        self._offset = None
        return self._file.readlines(size)

    def record_at(self, offset: int, syntax: Syntax) -> bytes:
        """The record that begins at the offset. Raises `SourceChanged` if none does."""
        if offset != self._offset:
            self._seek(offset)
        record = next(self.records(syntax), None)
        if record is None or record.offset != offset:
            raise SourceChanged("no record begins there any more: the file has changed since")
        return record.data

    def close(self) -> None:
        self._finalizer()

    def _seek(self, offset: int) -> None:
        self._offset = None  # Whatever comes of it, the file stands elsewhere.
        self._file.seek(max(offset - 1, self.start))
        if offset > self.start and self._file.read(1) != b"\n":
            raise SourceChanged("no record begins there any more: the file has changed since")


class TextSource(ABC):
    """Records of a file, named by their ordinals or, with `key`, by a field of theirs."""

    has_kinds = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | None,
        folder: Path,
        encoding: str,
        changed: str,
        removed: str,
    ) -> None:
        check_changed(type(self).__name__, changed, removed, has_key=key is not None)
        self._keeps_digests = key is None or changed == "content"
        self.drops_gone = removed == "drop"
        self._input, self._written = find_input(path, folder)
        self._key = require_field_name(key)
        self._encoding = read_encoding(encoding)

    is_counted = False

    @property
    def is_keyed(self) -> bool:
        return self._key is not None

    @property
    def inputs(self) -> tuple[Path | str, ...]:
        return (self._input.place,)

    def count_items(self) -> None:
        return None

    def scan(self) -> Iterator[ScanBlock]:
        self._input.require()
        with self._understood():
            file = RecordFile(self._input, self._encoding)
            try:
                yield from self._find_blocks(file)
            finally:
                file.close()

    def open(self) -> TextReader:
        with self._understood():
            file = RecordFile(self._input, self._encoding)
            syntax, _ = self._begin(file)
            return TextReader(self._input.place, file, syntax, self._key, self._keeps_digests)

    @contextmanager
    def _understood(self) -> Iterator[None]:
        with translated_errors(self._input.place):
            try:
                yield
            except ValueError as error:
                raise source_error(
                    f"{show_path(self._input.place)} cannot be understood: {error}.",
                    "Correct the file, then run again.",
                ) from error

    def _describe(self, kind: str) -> dict[str, str]:
        identity = {"source": f"{kind} {escape_key(self._written)}"}
        if self._key is not None:
            identity["key"] = self._key
        if self._encoding != PLAIN:
            identity["encoding"] = self._encoding
        return identity

    @abstractmethod
    def _begin(self, file: RecordFile) -> tuple[Syntax, int]:
        """Read the head of the file: the syntax of what follows, and the number of its first line.
        Raises `ValueError` for a head that cannot be understood."""

    def _find_blocks(self, file: RecordFile) -> Iterator[ScanBlock]:
        syntax, line = self._begin(file)
        for records in cut_blocks(file.records(syntax, line=line)):
            yield self._make_block(records, syntax)

    def _make_block(self, records: Sequence[TextRecord], syntax: Syntax) -> ScanBlock:
        key = self._key
        return ScanBlock(
            count=len(records),
            keys=None if key is None else [self._key_of(each, syntax, key) for each in records],
            positions=[record.offset for record in records],
            digests=self._digest([record.data for record in records], syntax),
        )

    def _digest(self, records: Sequence[bytes], syntax: Syntax) -> bytes | None:
        return digest_lines(records, syntax) if self._keeps_digests else None

    def _key_of(self, record: TextRecord, syntax: Syntax, key: str) -> str:
        try:
            return make_field_key(syntax.parse(record.data), key)
        except (ValueError, NoKey):
            return stand_in_key("line", record.line)


def tell_undecodable(what: str, encoding: str, error: UnicodeDecodeError) -> str:
    """That a line or record holds bytes which its encoding has no character for."""
    if encoding == PLAIN:
        return f"the {what} is not UTF-8: {error}"
    byte = error.object[error.start]
    return f"the {what} is not {encoding}, which has no character for byte {byte:#04x}"


def digest_lines(records: Sequence[bytes], syntax: Syntax) -> bytes:
    """Of records that are not blank. A last record without a line end that can't be understood is
    still being written. Nobody knows yet what it will be."""
    digests = digest_records([each.strip(syntax.blank) for each in records], syntax.head)
    if records and not records[-1].endswith(b"\n"):
        try:
            syntax.parse(records[-1])
        except ValueError:
            return digests[:-DIGEST_BYTES] + UNKNOWN
    return digests


class TextReader:
    """Gives items of a file by the offsets of their records."""

    def __init__(
        self,
        place: Path | str,
        file: RecordFile,
        syntax: Syntax,
        key: str | None,
        keeps_digests: bool,
    ) -> None:
        self._place = place
        self._keeps_digests = keeps_digests
        self._file = file
        self._syntax = syntax
        self._key = key

    def read(self, wanted: ItemsWanted) -> Iterator[Any | Unavailable]:
        if wanted.positions is None:
            raise ValueError("records are read by their offsets")
        with translated_errors(self._place):
            for index, offset in enumerate(wanted.positions):
                place = f"{show_path(self._place)} at byte {offset}"
                try:
                    record = self._find_planned(wanted, index, offset)
                    item = self._syntax.parse(record)
                    if wanted.keys is not None and self._key is not None:
                        check_key(make_field_key(item, self._key), wanted.keys[index])
                        self._check_version(wanted, index, record)
                except ValueError as error:
                    yield Unavailable(ValueError(f"{place}: {error}"))
                except NoKey as error:
                    yield Unavailable(NoKey(f"{place}: {error}"))
                except SourceChanged as error:
                    yield Unavailable(SourceChanged(f"{place}: {error}"))
                else:
                    yield item

    def _find_planned(self, wanted: ItemsWanted, index: int, offset: int) -> bytes:
        """The record of an item. Raises `RefusedError` if the plan knows the record by its content
        alone, and the content has changed."""
        row = wanted.first_ordinal + index
        try:
            record = self._file.record_at(offset, self._syntax)
        except SourceChanged as error:
            if wanted.digests is None or self._key is not None:
                raise
            raise refuse_changed(show_path(self._place), row) from error
        if wanted.digests is not None and self._key is None:
            planned = wanted.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
            found = self._digest(record)
            if found != planned and planned != UNKNOWN:
                raise refuse_changed(show_path(self._place), row)
        return record

    def _check_version(self, wanted: ItemsWanted, index: int, record: bytes) -> None:
        if wanted.digests is None or wanted.keys is None or not self._keeps_digests:
            return
        planned = wanted.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
        shown = show_path(self._place)
        check_version(shown, wanted.keys[index], planned, self._digest(record))

    def _digest(self, record: bytes) -> bytes:
        return digest_records([record.strip(self._syntax.blank)], self._syntax.head)
