"""Rows that take the place of all that a table holds, or of all that one run had put there.

Which rows of the table are a run's, columns of the table tell: `where`, such as a report's day.
Each row that is given has these values, in columns that batten adds where the rows lack them
(decision 0101).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batten.errors import RefusedError, refused_there, usage_error
from batten.sinks.base import Staged

if TYPE_CHECKING:
    import pyarrow as pa

MODES = ("append", "merge", "replace")


def read_mode(mode: str | None, *, key: object, where: object) -> bool:
    """Whether all at once is replaced. Raises `UsageError` for what does not go together."""
    problem = way = ""
    if mode is not None and mode not in MODES:
        problem = f"mode={mode!r} is none of {', '.join(map(repr, MODES))}"
        way = "Give one of them, or leave mode= out."
    elif mode == "merge" and not key:
        problem = 'mode="merge" replaces rows by their key, and there is no key='
        way = 'Name the columns of the key: key="id".'
    elif mode in ("append", "replace") and key:
        problem = f"mode={mode!r} and key= don't go together: key= replaces single rows"
        way = 'Leave one of them out; key= alone means mode="merge".'
    elif where and mode != "replace":
        problem = 'where= says which rows of the table are replaced, and mode= is not "replace"'
        way = 'Give mode="replace", or leave where= out.'
    if problem:
        raise usage_error(f"{problem}.", way)
    return mode == "replace"


def schema_with(schema: pa.Schema, where: Mapping[str, str]) -> pa.Schema:
    """The columns, and those of `where` that are lacking, as text."""
    import pyarrow as pa

    for name in where:
        if name not in schema.names:
            schema = schema.append(pa.field(name, pa.string()))
    return schema


def is_bare(columns: Collection[str], schema: pa.Schema, where: Collection[str]) -> bool:
    """Whether a table has the key's column alone, and those of `where`, and rows have more: it was
    made for a dataset without rows."""
    return {*columns} == {schema.names[0], *where} and len(schema.names) > len({*columns})


def stage_with(staged: Staged, where: Mapping[str, str], target: str) -> Staged:
    """The same with the values of `where` in each row. Reading raises `RefusedError` where a row
    has another value."""
    if not where:
        return staged
    schema = schema_with(staged.schema, where)

    def read() -> Iterator[pa.RecordBatch]:
        for batch in staged.read():
            yield _fill(batch, schema, where, target)

    def load() -> bytes:
        import pyarrow as pa

        from batten.sinks.parquet import encode_rows

        encoded: bytes = encode_rows(pa.Table.from_batches(read(), schema)).to_pybytes()
        return encoded

    def split() -> Iterator[Staged]:
        return (stage_with(each, where, target) for each in staged.split())

    return replace(staged, schema=schema, read=read, load=load, split=split)


def _fill(
    batch: pa.RecordBatch, schema: pa.Schema, where: Mapping[str, str], target: str
) -> pa.RecordBatch:
    import pyarrow as pa

    columns = list(batch.columns)
    for name, value in where.items():
        place = batch.schema.get_field_index(name)
        if place < 0:
            columns.append(pa.repeat(pa.scalar(value), batch.num_rows))
        elif (other := _find_other(columns[place], value)) is not None:
            raise RefusedError(
                f"A row has {other[0]!r} in {name!r}, and {target} is to get rows of {value!r} "
                "alone.",
                safe="Nothing was changed there; all rows are kept in the ledger.",
                next="Correct where= or the function that makes the rows, then run again.",
            )
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _find_other(column: pa.Array, value: str) -> tuple[Any] | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = column.cast(pa.string())
    same = pc.fill_null(pc.equal(texts, value), False)
    others = texts.filter(pc.invert(same))
    return (others[0].as_py(),) if len(others) else None


def tell_others(dataset: str, *, is_empty: bool) -> str:
    """What a table holds of others, in words: rows of that dataset, or rows without a token."""
    if dataset:
        return f"rows of {dataset!r}"
    return "" if is_empty else "rows that this job did not put there"


def refuse_others(target: str, held: str) -> RefusedError:
    """Where a table that is to be replaced holds what another put there."""
    return refused_there(
        f"{target} is to be replaced, and holds {held}.",
        'Name which rows are this run\'s, by a column: where={"run_date": "{run_date}"}; '
        "or give all runs that share the table one name, dataset=…; or write to another table.",
    )
