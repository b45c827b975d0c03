"""The rows that a finalize step returned, streamed, and cut into the tables of parts."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

STREAMED_ROWS = 1 << 14
"""Rows that are asked for at a time."""


class Stream(NamedTuple):
    """Rows that come as they are computed. `schema` is what a Parquet file gives back."""

    schema: pa.Schema
    batches: Iterable[pa.RecordBatch]


def open_stream(result: object) -> Stream:
    """The rows of an Arrow table, a Polars frame or a DuckDB relation. Raises `TypeError` for
    anything else, and what the library raises."""
    if isinstance(result, pa.Table):
        return Stream(_check(result.schema), result.to_batches(STREAMED_ROWS))
    polars: Any = sys.modules.get("polars")
    if polars is not None and isinstance(result, polars.DataFrame):
        return open_stream(result.to_arrow())
    if polars is not None and isinstance(result, polars.LazyFrame):
        empty = polars.DataFrame(schema=result.collect_schema()).to_arrow()
        return Stream(_check(empty.schema), _collect(result))
    duckdb: Any = sys.modules.get("duckdb")
    if duckdb is not None and isinstance(result, duckdb.DuckDBPyRelation):
        reader = result.to_arrow_reader(STREAMED_ROWS)
        return Stream(_check(reader.schema), reader)
    raise TypeError(
        f"it returned a {type(result).__name__}, not an Arrow table, a Polars frame or a "
        "DuckDB relation"
    )


def cut_tables(stream: Stream, rows: int) -> Iterator[pa.Table]:
    """Tables of exactly so many rows, but for the last, however the rows came."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in stream.batches:
        at = 0
        while at < batch.num_rows:
            piece = batch.slice(at, rows - count)
            held.append(piece)
            at += piece.num_rows
            count += piece.num_rows
            if count == rows:
                yield _join(held, stream.schema)
                held, count = [], 0
    if held:
        yield _join(held, stream.schema)


def _collect(frame: Any) -> Iterator[pa.RecordBatch]:
    found = frame.collect_batches(chunk_size=STREAMED_ROWS, maintain_order=True, engine="streaming")
    for each in found:
        yield from each.to_arrow().to_batches()


def _join(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    table = pa.Table.from_batches(batches)
    return table if table.schema.equals(schema, check_metadata=True) else table.cast(schema)


def _check(schema: pa.Schema) -> pa.Schema:
    names = schema.names
    if not names:
        raise TypeError("its result has no columns")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TypeError(f"its result has two columns {twice!r}")
    kept = {k: v for k, v in (schema.metadata or {}).items() if k != b"pandas"}
    plain = schema.with_metadata(kept) if kept else schema.remove_metadata()
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_batches([], plain), sink)
    stored: pa.Schema = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema_arrow
    return stored
