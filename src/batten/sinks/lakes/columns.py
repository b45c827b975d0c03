"""Rows as the columns of a table that others made: refused, as they are, or cast."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from batten.errors import InconsistentError, RefusedError, refused_there
from batten.model.disk.destinations.tokens import Token
from batten.model.telling.type_names import show_type
from batten.sinks.base import Staged
from batten.sinks.lakes.by_key import keep_last
from batten.sinks.rows.rejecting import UnstorableError, reject, tell_reason

if TYPE_CHECKING:
    import pyarrow as pa


Refuse = Callable[["pa.Table"], None]
"""Raises `UnstorableError` for rows that a table can't hold, whatever its columns are."""


def refuse_columns(target: str, ours: pa.Schema, theirs: pa.Schema) -> None:
    """Raises `RefusedError` if the table has not all of our columns, has one of another type, or
    must have one that we lack."""
    problem = ""
    for field in ours:
        place = theirs.get_field_index(field.name)
        if place < 0:
            problem = f"has no column {field.name!r}"
        elif not _is_alike(theirs.field(place).type, field.type):
            is_there = show_type(theirs.field(place).type)
            problem = f"has {is_there} in column {field.name!r}, not {show_type(field.type)}"
        if problem:
            break
    needed = [field.name for field in theirs if not field.nullable and field.name not in ours.names]
    if needed and not problem:
        problem = f"can't do without column {needed[0]!r}"
    if problem:
        raise refused_there(
            f"{target} {problem}.",
            "Change its columns or the job's (schema=…), or write to another table.",
        )


def refuse_foreign(target: str, problem: str) -> RefusedError:
    """A table is more than files of rows, and batten would not keep that up."""
    return refused_there(
        f"{target} {problem}.",
        "Write to another table, and bring the rows over with a library that knows.",
    )


def refuse_type(lake: str, field: pa.Field) -> RefusedError:
    """Tables of that kind have no type for it."""
    return refused_there(
        f"{lake} has no type for the column {field.name!r}, which is {show_type(field.type)}.",
        "Give it another type (schema=…), or write to another destination.",
    )


def tell_gone(target: str) -> InconsistentError:
    """The table was there when the run began."""
    return InconsistentError(
        f"{target} is gone.",
        safe="Every batch is kept in the ledger.",
        next="Run the same command again, which says what is lacking.",
    )


def name_file(token: Token, data: bytes, *, instead_of: str = "") -> str:
    """The name of a batch's file, or of one that takes the place of another: other bytes have
    another. So a file that a killed attempt left under this name is the right one."""
    digest = hashlib.sha256(f"{token.dataset}:{token.batch}:{instead_of}".encode())
    digest.update(data)
    return f"part-{token.batch or 0:06}-{digest.hexdigest()[:32]}.parquet"


def encode_as(
    staged: Staged,
    lacking: Staged,
    theirs: pa.Schema,
    target: str,
    *,
    key: Sequence[str],
    refuse: Refuse | None,
) -> bytes:
    """Those rows of a batch that are lacking, as Parquet with the types of the table's columns;
    where these are the same, the bytes as they are. With a `key`, of rows that share one only the
    last. Raises `RejectedError` if the columns can't hold some items, or `refuse` raises for them.
    """
    import pyarrow as pa

    from batten.sinks.parquet import encode_rows

    fitted = fit_rows(staged, lacking, theirs, target, refuse=refuse)
    if key:
        given = fitted
        if given is None:
            given = pa.Table.from_batches(lacking.read(), schema=staged.schema)
        last = keep_last(given, key)
        fitted = fitted if last is given else last
    if fitted is None:
        return lacking.load()
    encoded: bytes = encode_rows(fitted).to_pybytes()
    return encoded


def fit_rows(
    staged: Staged,
    lacking: Staged,
    theirs: pa.Schema,
    target: str,
    *,
    refuse: Refuse | None,
) -> pa.Table | None:
    """The rows with the types of the table's columns, or None if they have them. Raises as
    `encode_as` does."""
    import pyarrow as pa

    wanted = pa.schema([theirs.field(name) for name in staged.schema.names])
    is_same = all(
        _is_alike(mine.type, yours.type) and (yours.nullable or not mine.nullable)
        for mine, yours in zip(staged.schema, wanted, strict=True)
    )
    if is_same and refuse is None:
        return None

    def fit(rows: pa.Table) -> pa.Table:
        if refuse is not None:
            refuse(rows)
        return _fit(rows, wanted)

    def attempt(rows: pa.Table) -> Exception | None:
        try:
            fit(rows)
        except UnstorableError as error:
            return error
        return None

    try:
        fitted = fit(pa.Table.from_batches(lacking.read(), schema=staged.schema))
    except UnstorableError as error:
        raise reject(staged, lacking, attempt, target, error) from error
    return None if is_same else fitted


def refuse_nulls(key: Sequence[str], also: Refuse | None = None) -> Refuse | None:
    """Refuses rows with a null in a column of the key, which nothing could ever replace; and what
    `also` refuses."""
    if not key:
        return also

    def refuse(rows: pa.Table) -> None:
        for name in key:
            if rows.column(name).null_count:
                raise UnstorableError(f"there is a null in {name!r}, a column of the key")
        if also is not None:
            also(rows)

    return refuse


def find_far_times(schema: pa.Schema) -> Refuse | None:
    """For libraries that read the least and the greatest value of a file as Python's: refuses times
    that Python has none for. None if no column can have such."""
    import pyarrow as pa
    import pyarrow.compute

    names = [each.name for each in schema if holds(each.type, _is_of_times)]

    def refuse(rows: pa.Table) -> None:
        for name in names:
            column = rows.column(name)
            try:
                if pa.types.is_nested(column.type):
                    column.to_pylist()
                else:
                    pa.compute.min_max(column).as_py()
            except (OverflowError, ValueError) as error:
                told = f"the column {name!r} has a time beyond the years 1 to 9999"
                raise UnstorableError(told) from error

    return refuse if names else None


def holds(kind: pa.DataType, asked: Callable[[pa.DataType], bool]) -> bool:
    """Whether it, or a type within it, is one of those that are asked for."""
    import pyarrow as pa

    if pa.types.is_nested(kind):
        return any(holds(kind.field(place).type, asked) for place in range(kind.num_fields))
    return asked(kind)


def _is_of_times(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def _fit(table: pa.Table, wanted: pa.Schema) -> pa.Table:
    """Raises `UnstorableError` if a column can't hold a value: nobody else looks."""
    import pyarrow as pa

    columns = []
    for place, field in enumerate(wanted):
        column = table.column(place)
        if column.null_count and not field.nullable:
            raise UnstorableError(f"there is a null, which the column {field.name!r} can't hold")
        try:
            columns.append(column.cast(field.type))
        except pa.ArrowException as error:
            told = tell_reason(error)
            is_ours = show_type(field.type)
            raise UnstorableError(f"the column {field.name!r} is {is_ours}: {told}") from error
    return pa.table(columns, schema=wanted)


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
