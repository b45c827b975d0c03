"""All rows of a dataset in one file: JSON Lines, CSV or Parquet."""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

from batten.dataset.parts import Parts
from batten.errors import UsageError
from batten.model.names import CONTROL_SUFFIX
from batten.storage.atomic import publish_file

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


def export_rows(parts: Parts, to: str | os.PathLike[str], format: str | None = None) -> int:
    """Write the rows to a file that appears whole or not at all; gives their number."""
    target = os.fspath(to)
    write = _WRITERS[choose_format(target, format)]
    _refuse_within(parts, target)
    schema = parts.read_schema()
    write_checked = write(schema)
    with publish_file(target) as file:
        return write_checked(parts.read_batches(), file)


def choose_format(target: str, format: str | None) -> str:
    """The format, by its name or by the file's ending; raises `UsageError`."""
    found = format if format is not None else ENDINGS.get(os.path.splitext(target)[1].lower())
    if found in _WRITERS:
        return found
    known = ", ".join(_WRITERS)
    raise UsageError(
        f"{format or target!r} is no format that rows can be exported to.",
        safe="Nothing was written.",
        next=f"End the file's name with one of {', '.join(ENDINGS)}; or name a format: {known}.",
    )


def _refuse_within(parts: Parts, target: str) -> None:
    output = os.path.realpath(os.path.join(parts.storage.place, parts.layout.output))
    real = os.path.realpath(target)
    for folder in (output, output + CONTROL_SUFFIX):
        if os.path.commonpath([folder, real]) == folder:
            raise UsageError(
                f"{target!r} lies in the dataset itself, where nothing else may be.",
                safe="Nothing was written.",
                next="Export to another folder.",
            )


Batches = Iterable["pa.RecordBatch"]
Write = Callable[[Batches, BinaryIO], int]


def _parquet(schema: pa.Schema) -> Write:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def write(batches: Batches, file: BinaryIO) -> int:
        rows = 0
        with pq.ParquetWriter(file, schema, compression="zstd", compression_level=1) as writer:
            for group in _groups(batches):
                table = pa.Table.from_batches(group, schema=schema)
                writer.write_table(table.combine_chunks(), row_group_size=ROW_GROUP_ROWS)
                rows += table.num_rows
        return rows

    return write


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


def _csv(schema: pa.Schema) -> Write:
    import pyarrow.csv

    for field in schema:
        _refuse_csv(field)

    def write(batches: Batches, file: BinaryIO) -> int:
        rows = 0
        with pyarrow.csv.CSVWriter(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
        return rows

    return write


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
            f"CSV can't hold the column {field.name!r}, which is {field.type}.",
            safe="Nothing was written.",
            next="Export to .jsonl or .parquet.",
        )


def _jsonl(schema: pa.Schema) -> Write:
    def write(batches: Batches, file: BinaryIO) -> int:
        rows = 0
        for batch in batches:
            lines = _encode_rows(batch)
            file.write("".join(lines).encode())
            rows += len(lines)
        return rows

    return write


def _encode_rows(batch: pa.RecordBatch) -> list[str]:
    encode = json.JSONEncoder(ensure_ascii=False, default=_plain, allow_nan=False).encode
    try:
        rows = batch.to_pylist()
        try:
            return [encode(row) + "\n" for row in rows]
        except ValueError:
            return [encode(_finite(row)) + "\n" for row in rows]
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"A row can't be written as JSON: {error}.",
            safe="Nothing was written.",
            next="Export to .parquet.",
        ) from error


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities: they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def _plain(value: object) -> object:
    """What JSON has no type for: bytes as base64, times as ISO 8601, durations as seconds."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} can't be written as JSON")


_WRITERS: dict[str, Callable[[pa.Schema], Write]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "parquet": _parquet,
}
