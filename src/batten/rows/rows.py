"""From rows, as functions return them, to Arrow tables.

Every table carries the column `ITEM`: the number, within the batch, of the item that a row is of.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import chain, groupby, islice
from numbers import Real
from operator import itemgetter
from typing import Any

import pyarrow as pa

from batten.model.telling.counts import count_of
from batten.model.telling.cutting import cut_middle
from batten.rows.arrays import integers, plain_array
from batten.rows.fitting import Unfit, conform
from batten.rows.values import PLAIN, STORED, as_plain, as_record

ITEM = "batten.item"

_ROWS_SHOWN = 3
_CHARACTERS_SHOWN = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unfitting:
    """An item whose rows are not rows of the dataset, and why. They may have been paid for, so
    `rows` shows what can be shown of them."""

    item: int
    reason: str
    rows: str


def as_row(value: Any) -> dict[str, Any]:
    """The row that a function returned: a dict, a dataclass, a pydantic model or a named tuple;
    raises `Unfit`."""
    if type(value) is dict:
        return value
    try:
        if isinstance(value, dict):
            return dict(value)
        if (record := as_record(value)) is not None:
            return record
    except Exception as error:
        kind = type(value).__name__
        told = f"a {kind} can't be made a row: {type(error).__name__}: {error}"
        raise Unfit(told, show_value(value)) from error
    kind = "None" if value is None else f"of type {type(value).__name__}"
    told = f"the row is {kind}; a row is a dict, a dataclass or a pydantic model"
    raise Unfit(told, show_value(value))


def show_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """For who looks why they do not fit: the first ones, without what is too long."""
    told = "\n".join(map(show_value, rows[:_ROWS_SHOWN]))
    left = len(rows) - _ROWS_SHOWN
    return f"{told}\n… ({left:,} rows more)" if left > 0 else told


def show_value(value: Any) -> str:
    """The same of one value."""
    if isinstance(value, dict):
        told = ", ".join(f"{name!r}: {show_value(each)}" for name, each in value.items())
        return f"{{{told}}}"
    if isinstance(value, bytes | bytearray | memoryview):
        return count_of(len(value), "byte")
    if isinstance(value, str):
        return repr(cut_middle(value, _CHARACTERS_SHOWN))
    try:
        return cut_middle(repr(value), _CHARACTERS_SHOWN)
    except Exception as error:  # noqa: BLE001 - a class of the user's own
        return f"a {type(value).__name__} that can't be shown ({type(error).__name__})"


def build_tables(
    rows: Sequence[dict[str, Any]], items: Sequence[int], schema: pa.Schema | None
) -> tuple[list[pa.Table], list[Unfitting]]:
    """Consecutive tables of these rows, and the items that do not fit.

    With a schema, one table of exactly that. Without one yet, a table for each stretch of rows
    of the very same types, so that what is pinned later does not depend on how the rows were cut.
    """
    if not rows:
        return [], []
    # Some libraries set it when they are imported: a time with a zone would be taken for UTC.
    os.environ.pop("PYARROW_IGNORE_TIMEZONE", None)
    if schema is not None:
        try:
            return [_with_items(conform(infer_table(rows, schema), schema), items)], []
        except Unfit:
            return _build_by_item(rows, items, schema)
    if _is_uniform(rows):
        try:
            return [_with_items(infer_table(rows), items)], []
        except Unfit:
            pass
    return _build_stretches(rows, items)


def build_tables_alike(
    rows: Sequence[dict[str, Any]], items: Sequence[int]
) -> tuple[list[pa.Table], list[Unfitting]]:
    """Tables of rows that ended in any order, while there is no schema. Each holds all items whose
    rows have the very same types. So what is pinned later does not depend on which items ended
    together.
    """
    if rows and _are_alike(rows):
        with suppress(Unfit):
            return [_with_items(infer_table(rows), items)], []
    alike: dict[pa.Schema, list[pa.Table]] = {}
    unfitting = []
    for item, own in _rows_by_item(rows, items):
        try:
            table = _with_items(infer_table(own), [item] * len(own))
            alike.setdefault(table.schema, []).append(table)
        except Unfit as error:
            unfitting.append(Unfitting(item=item, reason=str(error), rows=show_rows(own)))
    return [pa.concat_tables(tables).combine_chunks() for tables in alike.values()], unfitting


def conform_table(table: pa.Table, schema: pa.Schema) -> tuple[list[pa.Table], list[Unfitting]]:
    """The same for rows that are a table already."""
    if not table.num_rows:
        return [], []
    items = table.column(ITEM)
    data = table.drop_columns([ITEM])
    try:
        return [conform(data, schema).append_column(ITEM, items)], []
    except Unfit:
        tables, unfitting = [], []
        for item, start, count in _stretches(items.to_pylist()):
            try:
                fitted = conform(data.slice(start, count), schema)
                tables.append(_with_items(fitted, [item] * count))
            except Unfit as error:
                shown = show_rows(data.slice(start, min(count, _ROWS_SHOWN)).to_pylist())
                unfitting.append(Unfitting(item=item, reason=str(error), rows=shown))
        return tables, unfitting


def infer_table(rows: Sequence[dict[str, Any]], schema: pa.Schema | None = None) -> pa.Table:
    """The rows as columns with the types of their values; raises `Unfit` where they have none. A
    dict is a record, but for a column that is a map in the `schema`."""
    if not all(rows):
        raise Unfit("a row without columns")
    arrays = []
    columns = _columns(rows)
    maps = {} if schema is None else {f.name: f.type for f in schema if pa.types.is_map(f.type)}
    for name, values in columns.items():
        try:
            if name in maps:
                arrays.append(_as_map(values, maps[name]))
                continue
            kinds = set(map(type, values))
            if _are_numpy_times(kinds):
                arrays.append(_as_times(name, values))
                continue
            if not kinds <= STORED:
                values = [as_plain(value) for value in values]
                kinds = set(map(type, values))
            wide = _find_wide(schema, name)
            arrays.append(_as_array(values, _require_one_kind(name, values, kinds), wide))
        except Unfit:
            raise
        except OverflowError as error:
            raise Unfit(f"the column {name!r}: an integer beyond 64 bits") from error
        except Exception as error:
            raise Unfit(f"the column {name!r}: {error}") from error
    return pa.table(arrays, names=list(columns))


def _find_wide(schema: pa.Schema | None, name: str) -> pa.DataType | None:
    """The type of a column that holds integers beyond those of 64 bits with a sign."""
    place = -1 if schema is None else schema.get_field_index(name)
    if schema is None or place < 0:
        return None
    kind = schema.field(place).type
    return kind if pa.types.is_uint64(kind) or pa.types.is_decimal(kind) else None


def _as_array(values: list[Any], kinds: set[type], wide: pa.DataType | None) -> pa.Array:
    if not kinds:
        return pa.nulls(len(values))
    kind = next(iter(kinds))
    if len(kinds) == 1 and kind in PLAIN:
        try:
            return plain_array(values, kind, has_nulls=None in values)
        except OverflowError:
            if kind is not int or wide is None:
                raise
            return pa.array(values, wide)
    return pa.array(values)


def _are_numpy_times(kinds: set[type]) -> bool:
    named = {(kind.__module__, kind.__name__) for kind in kinds - {type(None)}}
    return named == {("numpy", "datetime64")}


def _as_times(name: str, values: list[Any]) -> pa.Array:
    """One by one, pyarrow takes no day of NumPy's that Python can hold as well."""
    import numpy as np

    present = [value for value in values if value is not None and not np.isnat(value)]
    dtypes = {value.dtype for value in present}
    if len(dtypes) > 1:
        raise Unfit(f"the column {name!r} holds times of several units")
    if not present:
        return pa.nulls(len(values))
    return pa.array(np.array(["NaT" if each is None else each for each in values], dtypes.pop()))


def _as_map(values: list[Any], kind: pa.MapType) -> pa.Array:
    """Of dicts, or of lists of pairs."""
    return pa.array([None if value is None else _as_pairs(value) for value in values], kind)


def _as_pairs(value: Any) -> list[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, Mapping) else value
    return [(as_plain(key), as_plain(each)) for key, each in pairs]


def _require_one_kind(
    name: str, values: Sequence[Any], kinds: set[type] | None = None
) -> set[type]:
    """The types of the values. Raises `Unfit` if values at the same place are of types that
    Arrow would convert into one another: texts and bytes, times with a zone and without. Numbers
    may mix."""
    kinds = set(map(type, values)) if kinds is None else kinds
    found = {list if kind is tuple else kind for kind in kinds} - {type(None)}
    if len(found) > 1 and (bool in found or not all(issubclass(k, Real) for k in found)):
        listed = ", ".join(sorted(kind.__name__ for kind in found))
        raise Unfit(f"the column {name!r} holds several types: {listed}")
    kind = next(iter(found), bool)
    if kind in PLAIN:
        return found
    present = [value for value in values if value is not None]
    if kind in (list, set, frozenset):
        _require_one_kind(name, list(chain.from_iterable(present)))
    elif issubclass(kind, dict):
        for inner in dict.fromkeys(chain.from_iterable(present)):
            _require_one_kind(f"{name}.{inner}", [value.get(inner) for value in present])
    elif issubclass(kind, datetime) and len({value.tzinfo is None for value in present}) > 1:
        raise Unfit(f"the column {name!r} holds times with a zone and without one")
    elif hasattr(kind, "dtype") and len({value.dtype for value in present}) > 1:
        raise Unfit(f"the column {name!r} holds arrays of several types")
    return found


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The values of each column, by its name, in the order in which the names first occur."""
    names = list(rows[0])
    try:
        if set(map(len, rows)) == {len(names)}:
            _check_names(names)
            return {name: list(map(itemgetter(name), rows)) for name in names}
    except KeyError:
        pass  # as many columns, but not the same
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    _check_names(names)
    return {name: [row.get(name) for row in rows] for name in names}


def _check_names(names: Sequence[Any]) -> None:
    for name in names:
        if not isinstance(name, str):
            raise Unfit(f"a column is named {name!r}; names are texts")
        if name == ITEM:
            raise Unfit(f"a column is named {ITEM!r}, which batten uses itself")
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise Unfit(f"a column is named {name!r}, which is not valid Unicode") from error


def _with_items(table: pa.Table, items: Sequence[int]) -> pa.Table:
    return table.append_column(ITEM, integers(items))


def _is_uniform(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether each column holds values of one plain type, or None."""
    first = rows[0]
    return all(row.keys() == first.keys() for row in rows) and all(
        len(kinds := set(map(type, map(itemgetter(name), rows))) - {type(None)}) <= 1
        and kinds <= PLAIN
        for name in first
    )


def _are_alike(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether any of the rows by itself would make the same columns as all of them."""
    names = list(rows[0])
    return all(list(row) == names for row in rows) and all(
        len(kinds := set(map(type, map(itemgetter(name), rows)))) == 1 and kinds <= PLAIN
        for name in names
    )


def _build_by_item(
    rows: Sequence[dict[str, Any]], items: Sequence[int], schema: pa.Schema
) -> tuple[list[pa.Table], list[Unfitting]]:
    tables, unfitting = [], []
    for item, own in _rows_by_item(rows, items):
        try:
            tables.append(_with_items(conform(infer_table(own, schema), schema), [item] * len(own)))
        except Unfit as error:
            unfitting.append(Unfitting(item=item, reason=str(error), rows=show_rows(own)))
    return ([pa.concat_tables(tables).combine_chunks()] if tables else []), unfitting


def _build_stretches(
    rows: Sequence[dict[str, Any]], items: Sequence[int]
) -> tuple[list[pa.Table], list[Unfitting]]:
    tables: list[pa.Table] = []
    unfitting = []
    for item, own in _rows_by_item(rows, items):
        try:
            table = _with_items(infer_table(own), [item] * len(own))
        except Unfit as error:
            unfitting.append(Unfitting(item=item, reason=str(error), rows=show_rows(own)))
            continue
        if tables and (both := _join_equals(tables[-1], table)) is not None:
            tables[-1] = both
        else:
            tables.append(table)
    return [table.combine_chunks() for table in tables], unfitting


def _join_equals(first: pa.Table, second: pa.Table) -> pa.Table | None:
    """Both tables as one where they differ only in columns that hold nothing, else None."""
    types = {field.name: field.type for field in first.schema}
    for field in second.schema:
        kinds = {types.get(field.name, field.type), field.type}
        if len(kinds) > 1 and pa.null() not in kinds:
            return None
    return pa.concat_tables([first, second], promote_options="default")


def _rows_by_item(
    rows: Sequence[dict[str, Any]], items: Sequence[int]
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    remaining = iter(rows)
    for item, _, count in _stretches(items):
        yield item, list(islice(remaining, count))


def _stretches(items: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    start = 0
    for item, run in groupby(items):
        count = sum(1 for _ in run)
        yield item, start, count
        start += count
