"""From rows, as functions return them, to columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from numbers import Real
from operator import itemgetter
from typing import Any

import pyarrow as pa

from batten.rows.arrays import plain_array
from batten.rows.fitting import Unfit
from batten.rows.values import PLAIN, STORED, as_plain

ITEM = "batten.item"
"""A column beside those of the rows: the number, within the batch, of the item that each is of."""


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
