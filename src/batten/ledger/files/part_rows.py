"""The rows of a Parquet file that batten made, read without believing what it says.

A digest tells damage, not malice: whoever may write to a folder can make a few kilobytes stand for
gigabytes. So pages are held against bounds before they are read, texts are held once however often
they stand there, and batches end by their bytes as well as by their rows (decision 0070).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from batten.ledger.files.pages import Pages, refuse_inflated

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 1 << 14
"""Rows that are held at a time where rows are streamed."""
BATCH_BYTES = 1 << 26
"""Bytes of them; of a single row more."""


class PartRows:
    """The rows of an open file, or of its bytes. Raises `Unreadable`, which is a `ValueError`, and
    what Arrow raises: `OSError`, `ValueError`, `KeyError`, `ArrowException`."""

    def __init__(self, file: BinaryIO | bytes) -> None:
        import pyarrow.parquet as pq

        self._file = io.BytesIO(file) if isinstance(file, bytes) else file
        # Arrow's threads are not needed here, and could abort a process that ends at once.
        reader = pq.ParquetFile(self._file, pre_buffer=False)
        self._metadata = reader.metadata
        self._size = self._file.seek(0, io.SEEK_END)
        self._reader = reader
        self.schema: pa.Schema = reader.schema_arrow
        self.rows: int = self._metadata.num_rows
        self._shared: list[str] | None = None
        self._most_rows = 1

    def read_batches(
        self, columns: Sequence[str] | None = None, *, rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """At most so many rows at a time, in the order and with the types of the schema."""
        schema = self._select(columns)
        for batch in self.read_shared(columns, rows=rows):
            for piece in self._cut(batch.select(schema.names)):
                yield piece if piece.schema.equals(schema) else piece.cast(schema)

    def read_shared(
        self, columns: Sequence[str] | None = None, *, rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """The same, but texts that may be many times as long in their rows as in the file stay
        places in dictionaries."""
        import pyarrow.parquet as pq

        if self._shared is None:
            self._shared = self._find_shared()
            if self._shared:
                self._reader = pq.ParquetFile(
                    self._file,
                    metadata=self._metadata,
                    pre_buffer=False,
                    read_dictionary=self._shared,
                )
        names = self._select(columns).names
        most = min(rows, BATCH_ROWS, self._most_rows)
        yield from self._reader.iter_batches(most, columns=names, use_threads=False)

    def read_table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, in memory."""
        import pyarrow as pa

        batches = list(refuse_much(self.read_batches(columns), self._size))
        return pa.Table.from_batches(batches, schema=self._select(columns))

    def _find_shared(self) -> list[str]:
        """The columns whose texts may be many times as long in their rows as in the file."""
        import pyarrow.parquet as pq

        most = min(self.rows, BATCH_ROWS)
        pages = Pages(self._file, self._metadata, most)
        texts = pages.texts
        self._most_rows = max(BATCH_BYTES // max(pages.row_bytes, 1), 1)
        own = BATCH_BYTES // max(len(texts), 1)
        doubtful = [path for path, size in texts.items() if size > own]
        plain = [path for path in doubtful if path in self.schema.names]
        if not plain:
            return doubtful
        reader = pq.ParquetFile(
            self._file, metadata=self._metadata, pre_buffer=False, read_dictionary=plain
        )
        longest = dict.fromkeys(plain, 0)
        for group in range(self._metadata.num_row_groups):
            for batch in islice(reader.iter_batches(1, [group], plain, use_threads=False), 1):
                for path, column in zip(plain, batch.select(plain).columns, strict=True):
                    longest[path] = max(longest[path], _find_longest(column))
        return [path for path in doubtful if longest.get(path, own) * most > own]

    def _select(self, columns: Sequence[str] | None) -> pa.Schema:
        import pyarrow as pa

        if columns is None:
            return self.schema
        fields = [self.schema.field(name) for name in columns]
        return pa.schema(fields, metadata=self.schema.metadata)

    def _cut(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The batch in pieces that have not too many bytes once each text stands in its row."""
        size = 0 if not self._shared else sum(map(_count_bytes, batch.columns))
        if size <= BATCH_BYTES:
            yield batch
        elif batch.num_rows <= 1:
            refuse_inflated(size, self._size)
            yield batch
        else:
            half = batch.num_rows // 2
            yield from self._cut(batch.slice(0, half))
            yield from self._cut(batch.slice(half))


def refuse_much(batches: Iterator[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    """The batches, as long as all of them together are not absurdly more than the `size` of the
    files they come from."""
    held = 0
    for batch in batches:
        held += batch.nbytes
        refuse_inflated(held, size)
        yield batch


def _find_longest(column: pa.Array) -> int:
    """Of the texts of its dictionary."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_text = pa.types.is_dictionary(column.type)
    return (pc.max(pc.binary_length(column.dictionary)).as_py() or 0) if is_text else column.nbytes


def _count_bytes(column: Any) -> int:
    """Of the texts of a column, each where it stands."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        places = column.indices.drop_null()
        return pc.sum(pc.binary_length(column.dictionary).take(places)).as_py() or 0
    if pa.types.is_struct(kind):
        return sum(map(_count_bytes, column.flatten()))
    if pa.types.is_map(kind):
        first, last = column.offsets[0].as_py(), column.offsets[-1].as_py()
        within = (column.keys, column.items)
        return sum(_count_bytes(each.slice(first, last - first)) for each in within)
    return _count_bytes(column.flatten()) if pa.types.is_nested(kind) else 0
