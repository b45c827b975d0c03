"""Rows as Avro takes them: times as numbers, lists and records of Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batten.sinks.kafka.avro.schemas import KEY, VALUE, has_text_keys
from batten.sinks.rows.plain_values import as_lists

if TYPE_CHECKING:
    import pyarrow as pa


def list_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Each row by its columns."""
    names = batch.schema.names
    columns = [list_values(column) for column in batch.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def list_values(column: pa.Array) -> list[Any]:
    """Each value. Of a map that has a key twice, it is a list of pairs, which Avro refuses."""
    import pyarrow as pa

    column = as_lists(column)
    kind, types = column.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return list_values(column.storage)
    if types.is_dictionary(kind):
        return list_values(column.dictionary_decode())
    if types.is_struct(kind):
        return _list_records(column)
    if types.is_map(kind):
        return _list_maps(column)
    if types.is_nested(kind):
        return _list_lists(column)
    if types.is_temporal(kind):
        return _list_times(column)
    values: list[Any] = column.to_pylist()
    return values


def _list_records(column: pa.StructArray) -> list[Any]:
    names = [field.name for field in column.type.fields]
    parts = [list_values(part) for part in column.flatten()]
    rows = zip(*parts, strict=True) if parts else [()] * len(column)
    there = column.is_valid().to_pylist()
    return [
        dict(zip(names, row, strict=True)) if is_there else None
        for row, is_there in zip(rows, there, strict=True)
    ]


def _list_lists(column: pa.Array) -> list[Any]:
    import pyarrow.compute as pc

    values = list_values(column.flatten())
    return _cut(values, pc.list_value_length(column).to_pylist())


def _list_maps(column: pa.MapArray) -> list[Any]:
    if not len(column):
        return []
    offsets = column.offsets.to_pylist()
    first, count = offsets[0], offsets[-1] - offsets[0]
    keys = list_values(column.keys.slice(first, count))
    values = list_values(column.items.slice(first, count))
    there = column.is_valid().to_pylist()
    made: list[Any] = []
    for begin, end, is_there in zip(offsets, offsets[1:], there, strict=False):
        span = slice(begin - first, end - first)
        pairs = list(zip(keys[span], values[span], strict=True))
        if not is_there:
            made.append(None)
        elif has_text_keys(column.type):
            found = dict(pairs)
            made.append(found if len(found) == len(pairs) else pairs)
        else:
            made.append([{KEY: key, VALUE: value} for key, value in pairs])
    return made


def _cut(values: list[Any], lengths: list[int | None]) -> list[Any]:
    made: list[Any] = []
    begin = 0
    for length in lengths:
        made.append(None if length is None else values[begin : begin + length])
        begin += length or 0
    return made


def _list_times(column: pa.Array) -> list[Any]:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_date64(kind):
        column = column.cast(pa.date32())
    whole = pa.int32() if column.type.bit_width == 32 else pa.int64()
    numbers: list[Any] = column.cast(whole).to_pylist()
    if getattr(kind, "unit", "") == "s":
        # Avro has no seconds.
        return [None if each is None else 1000 * each for each in numbers]
    return numbers
