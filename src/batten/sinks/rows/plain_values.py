"""Columns as values of Python, also where it has none: a time of the year 20000 becomes text."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_ERRORS = (OverflowError, ValueError)
"""What Arrow raises for times out of Python's range, and for parts of microseconds."""


_FLOAT_DIGITS = 15
"""So many digits come back from a float, whoever prints it."""

_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}


def as_seconds(duration: timedelta) -> float | str:
    """A number where that has all digits of the duration, else the text of these."""
    microseconds = duration // timedelta(microseconds=1)
    # One of pandas has nanoseconds beside.
    return _tell_seconds(1000 * microseconds + getattr(duration, "nanoseconds", 0))


def _tell_seconds(nanoseconds: int) -> float | str:
    whole, part = divmod(abs(nanoseconds), 10**9)
    text = f"{'-' if nanoseconds < 0 else ''}{whole}.{part:09}".rstrip("0").rstrip(".")
    digits = text.replace(".", "").strip("-0")
    return float(text) if len(digits) <= _FLOAT_DIGITS else text


def list_values(column: pa.Array) -> list[Any]:
    """As `to_pylist`, and raises nothing: what has no value of Python is text, as ISO 8601,
    or seconds."""
    column = as_lists(column)
    try:
        values: list[Any] = column.to_pylist()
    except _ERRORS:
        return [_find_value(each) for each in column]
    return values


def list_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """As `to_pylist` of a batch; see `list_values`."""
    try:
        rows: list[dict[str, Any]] = _as_lists_each(batch).to_pylist()
    except _ERRORS:
        columns = [list_values(column) for column in batch.columns]
        names = batch.schema.names
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return rows


def is_tensor(kind: pa.DataType) -> bool:
    """Whether it is of arrays of several dimensions, which Python would get as flat lists."""
    import pyarrow as pa

    return isinstance(kind, pa.FixedShapeTensorType)


def as_lists(column: pa.Array) -> pa.Array:
    """Arrays of several dimensions as lists of lists, anything else as it is."""
    import pyarrow as pa

    if not is_tensor(column.type):
        return column
    values, sizes = column.storage, column.type.shape
    for size in reversed(sizes[1:]):
        inner = values.values.slice(
            values.offset * values.type.list_size, len(values) * values.type.list_size
        )
        inner = pa.FixedSizeListArray.from_arrays(inner, size)
        nulls = pa.array([not each.is_valid for each in values], pa.bool_())
        width = values.type.list_size // size
        values = pa.FixedSizeListArray.from_arrays(inner, width, mask=nulls)
    return values


def _as_lists_each(batch: pa.RecordBatch) -> pa.RecordBatch:
    import pyarrow as pa

    if not any(is_tensor(field.type) for field in batch.schema):
        return batch
    columns = [as_lists(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _find_value(scalar: pa.Scalar) -> Any:
    import pyarrow as pa

    try:
        return scalar.as_py()
    except _ERRORS:
        kind = scalar.type
        if pa.types.is_struct(kind):
            places = range(kind.num_fields)
            return {kind.field(place).name: _find_value(scalar[place]) for place in places}
        if pa.types.is_map(kind):
            found = list_values(scalar.values)
            return [tuple(each.values()) for each in found]
        if hasattr(scalar, "values"):
            return list_values(scalar.values)
        if pa.types.is_duration(kind):
            return _tell_seconds(scalar.value * _NANOSECONDS[kind.unit])
        return scalar.cast(pa.string()).as_py().replace(" ", "T", 1)
