"""Rows that are not rows of the dataset: which they are, and that their items have failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from batten.rows.fit_or_unfit import Unfitting, conform_table
from batten.rows.returned_rows import show_rows
from batten.work.calling.calls import Failure
from batten.work.calling.units import fail_rows


def fail_unfitting(unfitting: Iterable[Unfitting]) -> list[Failure]:
    return [
        fail_rows(each.item, f"the row does not fit: {each.reason}", each.rows)
        for each in unfitting
    ]


def without_key(
    rows: list[dict[str, Any]],
    owners: list[int],
    keys: Sequence[Any],
    start: int,
    key_column: str,
) -> tuple[list[dict[str, Any]], list[int], list[Unfitting]]:
    """Rows that repeat their key under its own name are as good as rows that don't."""
    if not any(key_column in row for row in rows):
        return rows, owners, []
    clashing = {
        owner: row[key_column]
        for row, owner in zip(rows, owners, strict=True)
        if key_column in row and str(row[key_column]) != str(keys[owner - start])
    }
    kept = [
        ({name: value for name, value in row.items() if name != key_column}, owner)
        for row, owner in zip(rows, owners, strict=True)
        if owner not in clashing
    ]
    reason = (
        f"the row has a column {key_column!r} of its own, which is the name of the key's; "
        'name the key another way: .options(key_column="…")'
    )
    return (
        [row for row, _ in kept],
        [owner for _, owner in kept],
        [
            Unfitting(item=owner, reason=reason, rows=show_rows([{key_column: value}]))
            for owner, value in clashing.items()
        ],
    )


def fit_tables(
    tables: list[pa.Table], schema: pa.Schema | None
) -> tuple[list[pa.Table], list[Unfitting]]:
    if schema is None:
        return tables, []
    fitted: list[pa.Table] = []
    unfitting: list[Unfitting] = []
    for table in tables:
        own, unfit = conform_table(table, schema)
        fitted += own
        unfitting += unfit
    return ([pa.concat_tables(fitted).combine_chunks()] if fitted else []), unfitting
