"""Which rows of a table of files make way for the rows of a batch: those with the same key.

Files never change. One that holds such rows is replaced by one without them, in the same commit
that adds the new rows (decision 0099).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batten.errors import refused_there
from batten.model.value_class import value_class
from batten.sinks.base import Staged, TableSink

if TYPE_CHECKING:
    import pyarrow as pa

_PLACE = "batten row"


@value_class
class Displaced:
    """Rows that have one of these keys: a table with a column for each piece of a key."""

    keys: pa.Table

    @property
    def columns(self) -> list[str]:
        return list(self.keys.column_names)

    def find_left(self, rows: pa.Table) -> pa.Array:
        """The places of the rows that stay, in order. Only the columns of the key are looked at; a
        null is like no other value."""
        import pyarrow as pa

        given = rows.select(self.columns).cast(self.keys.schema)
        given = given.append_column(_PLACE, pa.array(range(rows.num_rows), pa.int64()))
        left = given.join(self.keys, self.columns, join_type="left anti", use_threads=False)
        places = left.column(_PLACE).combine_chunks()
        return places.sort()


def is_replaced_by_item(staged: Staged, key: Sequence[str]) -> bool:
    """Whether items of the batch have changed or gone, and their rows are known by their keys."""
    return staged.revision > 0 and staged.schema.names[0] in key


def makes_way(staged: Staged, sink: TableSink) -> bool:
    """Whether the rows of an earlier version of what is staged make way for those of now."""
    is_merged = staged.is_whole and bool(sink.key)
    return sink.replaces or is_merged or is_replaced_by_item(staged, sink.key)


def find_displaced(
    staged: Staged, lacking: Staged, key: Sequence[str], where: Mapping[str, str]
) -> list[Displaced]:
    """What makes way for those rows of the batch that are lacking: rows of the same key; if its
    items have changed or gone, all that have the key of one of them (decision 0090); and rows with
    the values of `where`."""
    import pyarrow as pa

    found = []
    if where:
        texts = {name: pa.array([value], pa.string()) for name, value in where.items()}
        found.append(Displaced(keys=pa.table(texts)))
    if key and lacking.rows:
        rows = pa.Table.from_batches(lacking.read(), schema=staged.schema)
        keys = rows.select(list(key)).group_by(list(key), use_threads=False).aggregate([])
        found.append(Displaced(keys=keys.cast(pa.schema([rows.schema.field(n) for n in key]))))
    first = staged.schema.field(0)
    if is_replaced_by_item(staged, key):
        items = pa.array(staged.load_keys(), pa.string()).cast(first.type)
        found.append(Displaced(keys=pa.table([items], names=[first.name])))
    return found


def find_left(displaced: Sequence[Displaced], rows: pa.Table) -> pa.Table | None:
    """The rows without those that make way; None if all stay. Rows that are older than a column of
    the key are like none."""
    left = rows
    for each in displaced:
        if not set(each.columns) <= set(rows.column_names):
            continue
        places = each.find_left(left)
        if len(places) < left.num_rows:
            left = left.take(places)
    return None if left is rows else left


def keep_last(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """Of rows that have the same key the last, as where one replaces the other."""
    import pyarrow as pa

    places = rows.select(list(key)).append_column(
        _PLACE, pa.array(range(rows.num_rows), pa.int64())
    )
    last = places.group_by(list(key), use_threads=False).aggregate([(_PLACE, "max")])
    if last.num_rows == rows.num_rows:
        return rows
    return rows.take(last.column(f"{_PLACE}_max").combine_chunks().sort())


def refuse_unknown_key(target: str, key: Sequence[str], names: Sequence[str]) -> None:
    """Raises `RefusedError` for a column of the key that the rows don't have."""
    for name in key:
        if name not in names:
            raise refused_there(
                f"{name!r} is part of key= of {target}, and the rows have no such column.",
                f"Name columns that they have: {', '.join(names)}.",
            )


def list_groups(keys: pa.Table) -> Iterator[tuple[dict[str, Any], str, list[Any]]]:
    """The keys, grouped so that there are few groups: values that a group has in common, and the
    column in which it has many, with these."""
    import pyarrow.compute as pc

    widest = max(keys.column_names, key=lambda name: pc.count_distinct(keys.column(name)).as_py())
    others = [name for name in keys.column_names if name != widest]
    if not others:
        yield {}, widest, keys.column(widest).to_pylist()
        return
    grouped = keys.group_by(others, use_threads=False).aggregate([(widest, "list")])
    for row in grouped.to_pylist():
        yield {name: row[name] for name in others}, widest, row[f"{widest}_list"]
