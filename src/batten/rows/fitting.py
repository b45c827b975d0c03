"""Fits rows to the columns of a dataset.

Types are compared before values are converted. So whether a row fits does not depend on its
neighbours: a chunk's rows give the same result together, apart, and in any other cut.
"""

from __future__ import annotations

import pyarrow as pa

from batten.model.telling.type_names import show_type
from batten.rows.arrays import booleans


class Unfit(ValueError):
    """Rows that can't be columns, or not those of the dataset; the text says which and why. `rows`
    shows them where they are known: they may have been paid for."""

    def __init__(self, told: str, rows: str = "") -> None:
        super().__init__(told)
        self.rows = rows


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly the schema's columns; raises `Unfit`."""
    # A column without a value may be there, with its type, only because of the rows beside.
    given = {
        name: column
        for name, column in zip(table.column_names, table.columns, strict=True)
        if column.null_count < table.num_rows
    }
    for name in given:
        if schema.get_field_index(name) < 0:
            raise Unfit(
                f"a new column {name!r}; the dataset has {', '.join(schema.names) or 'none'}"
            )
    columns = []
    for field in schema:
        if field.name in given:
            column = _cast(given[field.name], field)
        else:
            column = _make_nulls(table.num_rows, field.type)
        if not field.nullable and column.null_count:
            raise Unfit(f"the column {field.name!r} is null, which its schema does not allow")
        columns.append(column)
    return pa.table(columns, schema=schema)


def _make_nulls(count: int, kind: pa.DataType) -> pa.Array:
    """What may not be null in a record has a value where the record is: Parquet's writer looks."""
    return pa.array([None] * count, kind) if _has_required(kind) else pa.nulls(count, kind)


def _has_required(kind: pa.DataType) -> bool:
    """Whether it is a record with a field that is never null, at any depth."""
    if not pa.types.is_struct(kind):
        return False
    return any(not field.nullable or _has_required(field.type) for field in kind)


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    if column.type.equals(field.type):
        return column
    if not fits(column.type, field.type):
        name, found, wanted = _find_misfit(field.name, column.type, field.type)
        raise Unfit(
            f"the column {name!r} is {show_type(found)}, the dataset's is {show_type(wanted)}"
        )
    try:
        if is_tensor(field.type):
            return make_tensors(column, field.type)
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise Unfit(f"the column {field.name!r}: {error}") from error


def _find_misfit(
    name: str, found: pa.DataType, wanted: pa.DataType
) -> tuple[str, pa.DataType, pa.DataType]:
    """The innermost place at which one type does not fit the other: `box.sides[]`."""
    if pa.types.is_struct(found) and pa.types.is_struct(wanted):
        for field in found:
            at = wanted.get_field_index(field.name)
            if at < 0:
                break
            if not fits(field.type, wanted.field(at).type):
                return _find_misfit(f"{name}.{field.name}", field.type, wanted.field(at).type)
    elif _is_list(found) and _is_list(wanted):
        return _find_misfit(f"{name}[]", found.value_type, wanted.value_type)
    return name, found, wanted


def fits(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of one type may go into a column of another without changing their sense."""
    if found.equals(wanted) or pa.types.is_null(found):
        return True
    kinds = pa.types
    if is_tensor(wanted):
        return fits(found, as_nested_lists(wanted))
    if kinds.is_integer(found):
        return bool(
            kinds.is_integer(wanted) or kinds.is_floating(wanted) or kinds.is_decimal(wanted)
        )
    if kinds.is_struct(found):
        return bool(kinds.is_struct(wanted)) and all(
            wanted.get_field_index(field.name) >= 0
            and fits(field.type, wanted.field(field.name).type)
            for field in found
        )
    if _is_list(found):
        return _is_list(wanted) and fits(found.value_type, wanted.value_type)
    if kinds.is_dictionary(wanted) and not kinds.is_dictionary(found):
        return fits(found, wanted.value_type)
    if kinds.is_timestamp(found):
        return bool(kinds.is_timestamp(wanted)) and (found.tz is None) == (wanted.tz is None)
    return any(family(found) and family(wanted) for family in _FAMILIES)


def _is_list(kind: pa.DataType) -> bool:
    kinds = pa.types
    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    kinds = pa.types
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    kinds = pa.types
    return bool(
        kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_fixed_size_binary(kind)
    )


_FAMILIES = (
    pa.types.is_floating,
    pa.types.is_decimal,
    _is_text,
    _is_bytes,
    pa.types.is_date,
    pa.types.is_time,
    pa.types.is_duration,
)


def is_tensor(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.FixedShapeTensorType)


def as_nested_lists(kind: pa.FixedShapeTensorType) -> pa.DataType:
    """The type of lists of lists that has the same values, each of its size."""
    nested: pa.DataType = kind.value_type
    for size in reversed(kind.shape):
        nested = pa.list_(nested, size)
    return nested


def make_tensors(column: pa.ChunkedArray, kind: pa.FixedShapeTensorType) -> pa.ChunkedArray:
    """Raises `ArrowException` where an array is of another shape."""
    nested = column.cast(as_nested_lists(kind)).combine_chunks()
    nulls = booleans([not each.is_valid for each in nested])
    values, width = nested, 1
    for size in kind.shape:
        # Not `flatten`, which leaves out the room of nulls.
        values, width = values.values.slice(values.offset * size, len(values) * size), width * size
    storage = pa.FixedSizeListArray.from_arrays(values, width, mask=nulls)
    return pa.chunked_array([pa.ExtensionArray.from_storage(kind, storage)])
