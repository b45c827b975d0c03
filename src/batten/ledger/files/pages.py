"""How much memory the pages of a Parquet file will take, before they take it.

A page is compressed, and repeats are counted instead of written: a few bytes can stand for
gigabytes. Each page begins with a header (Thrift, compact protocol) that says how large it is
without compression and how many values it holds. Arrow believes it, and so it is read first.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from batten.ledger.files.thrift import Found, read_struct
from batten.model.disk.footer import TAIL_SIZE, find_footer_size
from batten.model.disk.records import Unreadable
from batten.model.telling.counts import count_of

if TYPE_CHECKING:
    import pyarrow.parquet as pq

SMALL_BYTES = 1 << 28
"""What takes no more than this is read, however small the file is."""
RATIO_MAX = 1000
"""What takes more is read if it takes at most so many times what lies on the disk."""

_HEADER_BYTES, _HEADER_BYTES_MAX = 1 << 12, 1 << 24
_DATA, _DATA_V2 = 5, 8
_UNPACKED, _PACKED, _VALUES = 2, 3, 1
_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3
_CHUNK_VALUES, _CHUNK_PACKED, _DATA_START, _DICTIONARY_START = 5, 7, 9, 11
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_PLACE_BYTES = 8
"""Where a repeated value belongs, or where its text begins."""


def refuse_inflated(unpacked: int, packed: int) -> None:
    """Raises `Unreadable` for what stands for absurdly more than lies there."""
    if unpacked > SMALL_BYTES and unpacked > RATIO_MAX * packed:
        raise Unreadable(f"{count_of(packed, 'byte')} of it stand for {unpacked:,}")


class Pages:
    """What the pages of a file say. `row_bytes` is about what its longest rows take. `texts` names
    the columns of text, with the bytes that they may have in so many `rows`: a text that lies once
    in a dictionary may stand in each row."""

    def __init__(self, file: BinaryIO, metadata: pq.FileMetaData, rows: int) -> None:
        """Raises `Unreadable` if pages would take absurdly much. The file is left where it
        stands."""
        self.texts: dict[str, int] = {}
        self.row_bytes = 0
        position, end = file.tell(), file.seek(0, os.SEEK_END)
        groups = _read_groups(file, end)
        held = 0
        for number in range(metadata.num_columns):
            column = metadata.schema.column(number)
            own = _Column(column.physical_type, column.length, column.max_repetition_level > 0)
            for chunks in groups:
                if number >= len(chunks):
                    raise Unreadable("a row group of it lacks a column")
                own.walk(file, chunks[number], end, rows)
            held += own.page_bytes + own.width
            # While a batch is read, there is a page of each column.
            refuse_inflated(held, end)
            self.row_bytes += own.row_bytes
            if column.physical_type == "BYTE_ARRAY":
                self.texts[column.path] = own.text_bytes
        file.seek(position)


class _Column:
    """What was seen of the pages of one column."""

    def __init__(self, kind: str, length: int, is_repeated: bool) -> None:
        self.width = _WIDTHS.get(kind, max(int(length), 0))
        self.row_bytes = self.width
        self.page_bytes = self.text_bytes = 0
        self._is_repeated = is_repeated

    def walk(self, file: BinaryIO, chunk: _Chunk, end: int, rows: int) -> None:
        """Through the pages, as far as Arrow would go."""
        values, start = chunk.values, chunk.data_start
        if 0 < chunk.dictionary_start < start:
            start = chunk.dictionary_start
        stop = min(start + max(chunk.packed, 0), end)
        seen = dictionary = 0
        while seen < values and start < stop:
            size, header = _read_header(file, start, stop)
            unpacked, packed = _number(header, _UNPACKED), _number(header, _PACKED)
            if packed < 0 or unpacked < 0:
                raise Unreadable("a page of it says that it has less than nothing")
            about = next((header[each] for each in (_DATA, _DATA_V2) if each in header), None)
            own = _number(about, _VALUES) if isinstance(about, dict) else 0
            if about is None:
                dictionary = max(dictionary, unpacked)
            elif self._is_repeated:
                unpacked = max(unpacked, own * (self.width + _PLACE_BYTES))
            else:
                self.row_bytes = max(self.row_bytes, unpacked // max(own, 1))
            refuse_inflated(unpacked, size + packed)
            self.page_bytes = max(self.page_bytes, unpacked)
            seen += max(own, 0)
            start += size + packed
        repeats = values if self._is_repeated else min(rows, values)
        self.text_bytes = max(self.text_bytes, dictionary * repeats)


class _Chunk(NamedTuple):
    """Where the pages of one column lie that are of one row group."""

    values: int
    packed: int
    data_start: int
    dictionary_start: int


def _read_groups(file: BinaryIO, end: int) -> list[list[_Chunk]]:
    """The chunks of each row group, by the footer. pyarrow ends the process where it doubts what a
    footer says of one."""
    file.seek(max(end - TAIL_SIZE, 0))
    size = find_footer_size(file.read(TAIL_SIZE))
    file.seek(max(end - TAIL_SIZE - size, 0))
    try:
        footer, _ = read_struct(file.read(size), 0)
    except IndexError as error:
        raise Unreadable("its footer is torn") from error
    return [
        [_read_chunk(_struct(column)) for column in _list(_struct(group), _COLUMNS)]
        for group in _list(footer, _ROW_GROUPS)
    ]


def _read_chunk(column: Found) -> _Chunk:
    about = _struct(column.get(_META_DATA))
    fields = (_CHUNK_VALUES, _CHUNK_PACKED, _DATA_START, _DICTIONARY_START)
    return _Chunk(*(_number(about, field) for field in fields))


def _struct(value: object) -> Found:
    if not isinstance(value, dict):
        raise Unreadable("its footer has odd fields")
    return value


def _list(found: Found, field: int) -> list[object]:
    value = found.get(field)
    if not isinstance(value, list):
        raise Unreadable("its footer has odd fields")
    return value


def _number(found: Found, field: int) -> int:
    value = found.get(field, 0)
    return value if isinstance(value, int) else 0


def _read_header(file: BinaryIO, start: int, stop: int) -> tuple[int, Found]:
    """The bytes of a page's header, and its fields that are numbers or have such."""
    size = _HEADER_BYTES
    while True:
        file.seek(start)
        data = file.read(min(size, stop - start))
        try:
            header, end = read_struct(data, 0)
        except IndexError as error:
            if size >= min(_HEADER_BYTES_MAX, stop - start):
                raise Unreadable("a page of it has no whole header") from error
            size *= 16
        else:
            return end, header
