"""Arrow's rows as PostgreSQL's COPY reads them, and its types for columns that are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from batten.sinks.rows.json_values import to_strict_json
from batten.sinks.rows.plain_values import is_tensor, list_values
from batten.sinks.rows.rejecting import UnstorableError

if TYPE_CHECKING:
    import pyarrow as pa

NANOSECONDS = 1000
"""In a microsecond."""

_DURATIONS: dict[str, Callable[[int], str]] = {
    "s": "{} s".format,
    "ms": "{} ms".format,
    "us": "{} us".format,
    "ns": lambda value: f"{Decimal(value).scaleb(-3):f} us",
}
"""As intervals, in numbers that PostgreSQL reads: it knows no powers of ten."""


def encode_copy(batch: pa.RecordBatch) -> pa.Buffer:
    """As CSV without a header: nulls are empty, texts are in quotes."""
    import pyarrow as pa
    import pyarrow.csv

    columns = [_writable(column) for column in batch.columns]
    table = pa.table(columns, names=[str(number) for number in range(len(columns))])
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(include_header=False))
    return sink.getvalue()


def has_nanoseconds(kind: pa.DataType) -> bool:
    """Whether it is of times or durations finer than PostgreSQL's, which are of microseconds."""
    import pyarrow as pa

    kinds = pa.types
    is_time = kinds.is_timestamp(kind) or kinds.is_time64(kind) or kinds.is_duration(kind)
    return bool(is_time and kind.unit == "ns")


def refuse_fine(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    """The rows, none of which would be rounded in these columns. Raises `UnstorableError`."""
    import pyarrow as pa

    for name in columns:
        column = batch.column(name)
        for place, value in enumerate(column.cast(pa.int64()).to_pylist()):
            if value is not None and value % NANOSECONDS:
                raise UnstorableError(
                    f"the column {name!r} would round {column[place].cast(pa.string())} to "
                    "microseconds; a text or the number of nanoseconds keeps it"
                )
    return batch


def _writable(column: pa.Array) -> pa.Array:
    """What Arrow's CSV can't write, or writes as PostgreSQL does not read it, becomes text."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _writable(column.dictionary_decode())
    encode: Callable[[Any], str] | None = None
    if _is_bytes(kind):
        encode = _hexadecimal
    elif pa.types.is_duration(kind):
        column, encode = column.cast(pa.int64()), _DURATIONS[kind.unit]
    elif pa.types.is_nested(kind) or is_tensor(kind):
        encode = _as_json
    if encode is None:
        return column
    values = [None if value is None else encode(value) for value in list_values(column)]
    return pa.array(values, pa.string())


def _hexadecimal(value: bytes) -> str:
    return "\\x" + value.hex()


def _as_json(value: Any) -> str:
    try:
        return to_strict_json(value)
    except ValueError as error:
        raise UnstorableError(
            "JSON has no NaN and no infinity, which a list or a record holds"
        ) from error


def _is_bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


_TYPES = {
    "bool": "boolean",
    "int8": "smallint",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "uint8": "smallint",
    "uint16": "integer",
    "uint32": "bigint",
    "uint64": "numeric(20)",
    "halffloat": "real",
    "float": "real",
    "double": "double precision",
    "date32[day]": "date",
    "date64[ms]": "date",
}


def name_type(kind: pa.DataType) -> str:
    """The type of a column that is made for this."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return name_type(kind.value_type)
    if _is_bytes(kind):
        return "bytea"
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    if pa.types.is_time(kind):
        return "time"
    if pa.types.is_duration(kind):
        return "interval"
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision}, {max(0, kind.scale)})"
    if pa.types.is_nested(kind) or is_tensor(kind):
        return "jsonb"
    return _TYPES.get(str(kind), "text")
