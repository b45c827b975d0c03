"""Rows as the columns of a table that others made: refused, as they are, or cast."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from batten.errors import RefusedError
from batten.model.tokens import Token
from batten.sinks.base import Staged

if TYPE_CHECKING:
    import pyarrow as pa


def refuse_columns(target: str, ours: pa.Schema, theirs: pa.Schema) -> None:
    """Raises `RefusedError` where the table has not all of our columns, has one of another type, or
    must have one that we lack."""
    problem = ""
    for field in ours:
        place = theirs.get_field_index(field.name)
        if place < 0:
            problem = f"has no column {field.name!r}"
        elif not _is_alike(theirs.field(place).type, field.type):
            problem = f"has {theirs.field(place).type} in column {field.name!r}, not {field.type}"
        if problem:
            break
    needed = [field.name for field in theirs if not field.nullable and field.name not in ours.names]
    if needed and not problem:
        problem = f"can't do without column {needed[0]!r}"
    if problem:
        raise RefusedError(
            f"{target} {problem}.",
            safe="Nothing was changed there.",
            next="Change its columns or the job's (schema=…), or write to another table.",
        )


def name_file(token: Token, data: bytes) -> str:
    """The name of a batch's file: other bytes have another. So what a killed attempt left under it
    is what is to be there."""
    digest = hashlib.sha256(f"{token.dataset}:{token.batch}:".encode())
    digest.update(data)
    return f"part-{token.batch or 0:06}-{digest.hexdigest()[:32]}.parquet"


def encode_as(staged: Staged, theirs: pa.Schema) -> bytes:
    """The rows of a batch as Parquet with the types of the table's columns; where these are the
    same, the bytes as they are."""
    import pyarrow as pa

    from batten.sinks.parquet import encode_rows

    wanted = pa.schema([theirs.field(name) for name in staged.schema.names])
    pairs = list(zip(staged.schema, wanted, strict=True))
    strict = [yours.name for mine, yours in pairs if mine.nullable and not yours.nullable]
    if not strict and all(_is_alike(mine.type, yours.type) for mine, yours in pairs):
        return staged.load()
    table = pa.Table.from_batches(staged.read(), schema=staged.schema)
    for name in strict:
        _refuse_nulls(table.column(name), name)
    columns = [
        _cast(table.column(place), field.type, field.name) for place, field in enumerate(wanted)
    ]
    encoded: bytes = encode_rows(pa.table(columns, schema=wanted)).to_pybytes()
    return encoded


def _refuse_nulls(column: pa.ChunkedArray, name: str) -> None:
    """Raises `RefusedError` for a null in a column that must have none: nobody else looks."""
    if column.null_count:
        raise RefusedError(
            f"The column {name!r} of the table can't hold nulls, and there is one.",
            safe="Nothing of this batch is there; every batch is kept in the ledger.",
            next="Let the table's column hold them, or write to another table.",
        )


def _cast(column: pa.ChunkedArray, kind: pa.DataType, name: str) -> pa.ChunkedArray:
    import pyarrow as pa

    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        raise RefusedError(
            f"The column {name!r} can't be made {kind}: {error}.",
            safe="Nothing of this batch is there; every batch is kept in the ledger.",
            next="Give the column another type (schema=…), or write to another table.",
        ) from error


def _is_alike(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether they hold the same values; names of elements and sizes of offsets don't matter."""
    import pyarrow as pa

    if pa.types.is_struct(one) and pa.types.is_struct(other):
        mine, yours = {f.name: f.type for f in one}, {f.name: f.type for f in other}
        return mine.keys() == yours.keys() and all(_is_alike(mine[n], yours[n]) for n in mine)
    if _is_list(one) and _is_list(other):
        return _is_alike(one.value_type, other.value_type)
    if pa.types.is_map(one) and pa.types.is_map(other):
        return _is_alike(one.key_type, other.key_type) and _is_alike(one.item_type, other.item_type)
    return one == other or any(one in kinds and other in kinds for kinds in _same_kinds())


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _same_kinds() -> tuple[tuple[pa.DataType, ...], ...]:
    import pyarrow as pa

    return (
        (pa.string(), pa.large_string(), pa.string_view()),
        (pa.binary(), pa.large_binary(), pa.binary_view()),
    )
