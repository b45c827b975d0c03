"""The columns of a dataset: what a job says of them, and what its first rows do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from batten.errors import usage_error
from batten.model.telling.type_names import show_type
from batten.rows.fitting import fits
from batten.rows.python_types import read_type
from batten.rows.row_classes import find_fields

OTHER_TYPE = "Give the column another type: a decimal whose scale is 0 or more, or a text."
"""What to do with a column that Parquet can't hold."""


def read_schema_option(option: Any, key_column: str) -> pa.Schema:
    """The schema that `.options(schema=…)` asks for, without the key column."""
    if isinstance(option, pa.Schema):
        fields = list(option)
    else:
        given = list(option.items()) if isinstance(option, Mapping) else find_fields(option)
        if given is None:
            raise usage_error(
                f"schema= is a {type(option).__name__}.",
                "Give a pyarrow schema, a class (dataclass, pydantic model, TypedDict), "
                'or a dict: schema={"frames": "int64", "tags": list[str]}.',
            )
        fields = [pa.field(str(name), _read_type(name, kind)) for name, kind in given]
    repeated = sorted(name for name, count in Counter(f.name for f in fields).items() if count > 1)
    if repeated:
        raise usage_error(
            f"schema= has the column {repeated[0]!r} twice.", "Name each column once."
        )
    return pa.schema([field for field in fields if field.name != key_column])


def refuse_unfit(schema: pa.Schema) -> None:
    """Raise where a part can't hold what `.options(schema=…)` asks for."""
    from batten.sinks.parquet import find_unfit

    if (unfit := find_unfit(schema)) is not None:
        raise usage_error(
            f"schema= gives the column {unfit.name!r} the type {show_type(unfit.type)}, which "
            "Parquet can't hold.",
            OTHER_TYPE,
        )


def _read_type(name: Any, kind: Any) -> pa.DataType:
    try:
        return read_type(kind)
    except (ValueError, TypeError, AttributeError, pa.ArrowException) as error:
        raise usage_error(
            f"schema= gives the column {name!r} the type {_show(kind)}, which is none: {error}.",
            'Give a pyarrow type, its text ("int64", "list<item: string>"), or a type of '
            "Python (list[str], datetime.date, str | None).",
        ) from error


def _show(kind: Any) -> str:
    return show_type(kind) if isinstance(kind, pa.DataType) else repr(kind)


def join_schemas(schemas: Iterable[pa.Schema]) -> pa.Schema | None:
    """What the first rows of a dataset pin: the union of their columns in order of appearance, with
    numbers widened. A type that contradicts an earlier one is left out: its rows will not fit. Each
    column is joined on its own, so that it does not matter which rows lie in one table."""
    joined: dict[str, pa.DataType] | None = None
    for schema in schemas:
        joined = {} if joined is None else joined
        for field in schema:
            known = joined.get(field.name, field.type)
            joined[field.name] = _join(known, field.type) or known
    return None if joined is None else pa.schema(list(joined.items()))


def _join(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    if first.equals(second):
        return first
    try:
        both = pa.unify_schemas(
            [pa.schema([("", first)]), pa.schema([("", second)])], promote_options="permissive"
        ).field(0)
    except pa.ArrowException:
        return None
    return both.type if fits(first, both.type) and fits(second, both.type) else None


def find_unknown_columns(schema: pa.Schema) -> list[str]:
    """Columns whose type, or an inner type, is not known: no row had a value."""
    return [field.name for field in schema if _holds_null(field.type)]


def _holds_null(kind: pa.DataType) -> bool:
    if pa.types.is_null(kind) or (pa.types.is_struct(kind) and not kind.num_fields):
        return True
    return any(_holds_null(kind.field(i).type) for i in range(kind.num_fields))
