"""Digests of items that have no key: whether row 2 is still what it was when it was planned.

A record of a text file is known by its bytes, without the space around it. Any other item is known
by its value; the order of a dict's fields counts. Digests of many items are one text of bytes,
eight for each. Eight zeros stand for an item of which nothing is known: such a one is never
compared.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from batten.errors import RefusedError
from batten.model.disk.items.row_digests import DIGEST_BYTES
from batten.model.disk.items.versions import GONE, UNKNOWN

if TYPE_CHECKING:
    import pyarrow as pa

_MARSHAL_VERSION = 2
"""The last one that writes equal values alike, whichever of them are one object."""


def digest_records(records: Iterable[bytes], before: bytes) -> bytes:
    """Of records as they lie in a file, without the space around them; `before` is what else says
    what they mean."""
    return b"".join([blake2b(before + each, digest_size=DIGEST_BYTES).digest() for each in records])


def digest_items(items: Iterable[Any]) -> bytes:
    return b"".join([_digest_value(item) for item in items])


def digest_rows(table: pa.Table | pa.RecordBatch, *, skips_nulls: bool = False) -> bytes:
    """Of rows as they are in Python, however their columns are stored. `skips_nulls`: a column that
    is null in a row is no part of the row (decision 0116)."""
    names: list[str] = table.schema.names
    try:
        columns = [_plain_column(column) for column in table.columns]
    except (ValueError, OverflowError):
        if table.num_rows == 1:
            return UNKNOWN
        single = (table.slice(row, 1) for row in range(table.num_rows))
        return b"".join(digest_rows(row, skips_nulls=skips_nulls) for row in single)
    rows: Iterable[tuple[Any, ...]] = (
        zip(*columns, strict=True) if columns else [()] * table.num_rows
    )
    if skips_nulls and any(column.null_count for column in table.columns):
        return b"".join([_digest_without_nulls(names, row) for row in rows])
    before = marshal.dumps(names, _MARSHAL_VERSION)
    return b"".join([_digest_value(row, before) for row in rows])


def _digest_without_nulls(names: Sequence[str], row: Sequence[Any]) -> bytes:
    """As of a row of the other columns."""
    there = [at for at, value in enumerate(row) if value is not None]
    before = marshal.dumps([names[at] for at in there], _MARSHAL_VERSION)
    return _digest_value(tuple(row[at] for at in there), before)


def split_digests(digests: bytes) -> Sequence[bytes]:
    """One for each item."""
    return [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]


def find_difference(planned: bytes, found: bytes) -> int | None:
    """The place of the first item that is not the planned one. What nothing is known of differs
    from nothing."""
    if planned == found:
        return None
    pairs = zip(split_digests(planned), split_digests(found), strict=True)
    return next((n for n, (a, b) in enumerate(pairs) if a != b and UNKNOWN not in (a, b)), None)


def refuse_changed(shown: str, row: int) -> RefusedError:
    """The source was changed after its rows had been compared, while it is read."""
    return changed_at_work(
        describe_change(shown, row),
        "When the source is whole, run the same command again: it compares all rows first.",
    )


def changed_at_work(
    what: str,
    next: str = "When the source is whole, run the same command again: it sees what changed.",
) -> RefusedError:
    """What is read is not any more what the run had seen of it."""
    safe = "No row of another version was published; what is finished is kept."
    return RefusedError(what, safe=safe, next=next)


def check_version(shown: str, key: str, planned: bytes, found: bytes) -> None:
    """Raises `RefusedError` where a record with a key was changed after all versions had been
    looked at, while it is read."""
    if planned != found and not {planned, found} & {GONE, UNKNOWN}:
        raise changed_at_work(f"{shown}: {key!r} was changed while the run was at work.")


def describe_change(shown: str, row: int) -> str:
    """Rows are counted from 1, as people do, and keys from 0."""
    return f"{shown}: row {row + 1} is not what it was when it was planned (its key is {row})."


def _digest_value(value: Any, before: bytes = b"") -> bytes:
    try:
        data = marshal.dumps(value, _MARSHAL_VERSION)
    except (ValueError, BufferError):
        try:
            data = marshal.dumps(_plain(value), _MARSHAL_VERSION)
        except Exception:  # noqa: BLE001 - objects of any kind, which no digest can be had of
            return UNKNOWN
    return blake2b(before + data, digest_size=DIGEST_BYTES).digest()


_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def _plain(value: Any) -> Any:
    """What an object consists of, for those that marshal does not know: the same for equal ones,
    whichever of their pieces are one object."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind in (list, tuple):
        return (kind.__name__, [_plain(each) for each in value])
    if kind is dict:
        return ("dict", [(_plain(name), _plain(each)) for name, each in value.items()])
    if kind in (set, frozenset):
        pieces = [marshal.dumps(_plain(each), _MARSHAL_VERSION) for each in value]
        return (kind.__name__, sorted(pieces))
    if isinstance(value, type):
        return ("name", value.__module__, value.__qualname__)
    if isinstance(value, PurePath):
        # Where its class lies, and what it consists of, differs by version of Python.
        return ("path", str(value))
    reduced = value.__reduce_ex__(_MARSHAL_VERSION)
    if isinstance(reduced, str):
        return ("name", kind.__module__, reduced)
    make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    return (
        "object",
        (make.__module__, make.__qualname__),
        [_plain(each) for each in (arguments, state, list(items or ()), list(pairs or ()))],
    )


_FORMATS: dict[str, Any] = {"int64": "q", "int32": "i", "double": "d", "float": "f"}


def _plain_column(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    chunks = getattr(column, "chunks", [column])
    return [value for chunk in chunks for value in _plain_values(chunk)]


def _plain_values(array: pa.Array) -> list[Any]:
    """As Python's values, times as the numbers that stand for them."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_dictionary(kind):
        return _plain_values(array.dictionary_decode())
    if pa.types.is_temporal(kind):
        bits = 32 if pa.types.is_date32(kind) or pa.types.is_time32(kind) else 64
        return _plain_values(array.view(pa.int32() if bits == 32 else pa.int64()))
    if str(kind) in _FORMATS and len(array) and not array.null_count:
        numbers: Any = memoryview(array.buffers()[1]).cast("B").cast(_FORMATS[str(kind)])
        return list(numbers[array.offset : array.offset + len(array)])
    values: list[Any] = array.to_pylist()
    return values
