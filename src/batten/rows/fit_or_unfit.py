"""Makes Arrow tables of the rows that fit, and tells of which items the rows do not.

Every table carries the column `ITEM`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

import pyarrow as pa

from batten.rows.arrays import integers
from batten.rows.columns_of_rows import ITEM, infer_table
from batten.rows.fitting import Unfit, conform
from batten.rows.returned_rows import ROWS_SHOWN, show_rows
from batten.rows.values import PLAIN


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unfitting:
    """An item whose rows are not rows of the dataset, and why. They may have been paid for, so
    `rows` shows what can be shown of them."""

    item: int
    reason: str
    rows: str


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
                shown = show_rows(data.slice(start, min(count, ROWS_SHOWN)).to_pylist())
                unfitting.append(Unfitting(item=item, reason=str(error), rows=shown))
        return tables, unfitting


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
