"""Rows as the bytes of one file: CSV, JSON Lines or Parquet. The same rows give the same bytes.

A format is first asked for the schema, and raises `UsageError` where it can't hold a column; what
it then gives makes the bytes, piece by piece.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from batten.errors import UsageError
from batten.model.telling.type_names import show_type
from batten.sinks.rows.json_values import to_json
from batten.sinks.rows.plain_values import list_rows
from batten.storage.base import Piece
from batten.storage.machine import count_processors

if TYPE_CHECKING:
    import pyarrow as pa

ENDINGS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}

ROW_GROUP_ROWS = 1 << 16
ROW_GROUP_BYTES = 1 << 23
"""A row group ends with the batch in which it reaches either; it is made in memory."""

ENCODERS_MAX = 4
"""Threads that make CSV; one more than that many pieces are in memory at a time."""

CSV_ROWS = 1 << 14
"""A piece of CSV has so many rows; larger ones cost more page faults."""

Batches = Iterable["pa.RecordBatch"]
Encode = Callable[[Batches], Iterator[Piece]]


class _Pieces:
    """A buffer that looks like a file; what is written to it is taken away piece by piece."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What was written can still be taken."""

    def take(self) -> Iterator[bytes]:
        taken, self._pieces = self._pieces, []
        yield from taken


def encode_parquet(schema: pa.Schema, *, has_checksums: bool = False) -> Encode:
    """`has_checksums`: a reader that asks for it is told of damaged pages."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from batten.sinks.parquet import find_unfit

    if (unfit := find_unfit(schema)) is not None:
        raise UsageError(
            f"Parquet can't hold the column {unfit.name!r}, which is {show_type(unfit.type)}.",
            safe="Nothing was written.",
            next="Give it another type, or write .jsonl.",
        )

    def encode(batches: Batches) -> Iterator[Piece]:
        file = _Pieces()
        with pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=1,
            write_page_checksum=has_checksums,
        ) as writer:
            for group in _groups(batches):
                table = pa.Table.from_batches(group, schema=schema)
                writer.write_table(table.combine_chunks(), row_group_size=ROW_GROUP_ROWS)
                yield from file.take()
        yield from file.take()

    return encode


def _groups(batches: Batches) -> Iterator[list[pa.RecordBatch]]:
    """Small batches together, so that row groups are of a good size."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            yield held
            held, rows, size = [], 0, 0
    if held:
        yield held


def _csv(schema: pa.Schema) -> Encode:
    import pyarrow as pa

    for field in schema:
        _refuse_csv(field)

    def encode(batches: Batches) -> Iterator[Piece]:
        # Not of `schema.empty_table()`, which imports pandas where it is installed.
        yield _encode_csv(pa.Table.from_batches([], schema=schema), has_header=True)
        yield from _ahead(_encode_csv, _cut(batches))

    return encode


def _cut(batches: Batches) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, CSV_ROWS):
            yield batch.slice(start, CSV_ROWS)


def _encode_csv(rows: pa.Table | pa.RecordBatch, *, has_header: bool = False) -> memoryview:
    import pyarrow as pa
    import pyarrow.csv

    made = pa.BufferOutputStream()
    pyarrow.csv.write_csv(rows, made, pyarrow.csv.WriteOptions(include_header=has_header))
    # A copy would touch fresh memory: twice the page faults.
    return memoryview(made.getvalue())


def _ahead(encode: Callable[[pa.RecordBatch], Piece], batches: Batches) -> Iterator[Piece]:
    """The bytes of each, in order; some are made while others are written."""
    threads = min(ENCODERS_MAX, count_processors())
    with ThreadPoolExecutor(max_workers=threads) as pool:
        begun: deque[Future[Piece]] = deque()
        for batch in batches:
            begun.append(pool.submit(encode, batch))
            if len(begun) > threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def _refuse_csv(field: pa.Field) -> None:
    """Raise before anything is written where CSV has no way to write a column."""
    import pyarrow as pa
    import pyarrow.csv

    is_bytes = pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
    try:
        with pyarrow.csv.CSVWriter(io.BytesIO(), pa.schema([field.with_nullable(True)])) as writer:
            writer.write_table(pa.table([pa.nulls(1, field.type)], names=[field.name]))
    except pa.ArrowException:
        is_possible = False
    else:
        is_possible = not (is_bytes or pa.types.is_fixed_size_binary(field.type))
    if not is_possible:
        raise UsageError(
            f"CSV can't hold the column {field.name!r}, which is {show_type(field.type)}.",
            safe="Nothing was written.",
            next="Write .jsonl or .parquet.",
        )


def _jsonl(schema: pa.Schema) -> Encode:
    def encode(batches: Batches) -> Iterator[Piece]:
        for batch in batches:
            yield "".join(row + "\n" for row in encode_json(batch)).encode()

    return encode


def encode_json(batch: pa.RecordBatch) -> list[str]:
    """Each row as one object, in one line."""
    try:
        return list(map(to_json, list_rows(batch)))
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"A row can't be written as JSON: {error}.",
            safe="Nothing was written.",
            next="Write .parquet.",
        ) from error


FORMATS: dict[str, Callable[[pa.Schema], Encode]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "parquet": encode_parquet,
}
