"""Arrow types from Python's: what a row class or an annotation declares about columns."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import pathlib
import types
import uuid
from collections.abc import Callable, Sequence
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import pyarrow as pa

from batten.jobs.step import Step
from batten.rows.type_texts import read_type_text

PLAIN: dict[Any, pa.DataType] = {
    None: pa.null(),
    type(None): pa.null(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
    bytearray: pa.binary(),
    datetime.datetime: pa.timestamp("us"),
    datetime.date: pa.date32(),
    datetime.time: pa.time64("us"),
    datetime.timedelta: pa.duration("us"),
    decimal.Decimal: pa.decimal128(38, 9),
    uuid.UUID: pa.string(),
}

_LISTS = (
    *(list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable),
    *(collections.abc.Set, collections.abc.Collection, collections.abc.MutableSequence),
)

_STREAMS = (
    *(list, tuple, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection),
    *(collections.abc.Iterator, collections.abc.Generator),
    *(collections.abc.AsyncIterator, collections.abc.AsyncIterable, collections.abc.AsyncGenerator),
)


class Undeclared(ValueError):
    """A type that says nothing, or not enough, about a column; the text says why."""


def read_type(kind: Any) -> pa.DataType:
    """The type of a column, from an Arrow type, its text, or a type of Python. Raises `ValueError`
    for what is none."""
    if isinstance(kind, pa.DataType):
        return kind
    if isinstance(kind, str):
        return read_type_text(kind)
    try:
        if kind in PLAIN:
            return PLAIN[kind]
    except TypeError:
        pass  # what has no hash is no plain type
    if isinstance(kind, NewType):
        return read_type(kind.__supertype__)
    origin = get_origin(kind)
    if origin is not None:
        return _read_generic(kind, origin, get_args(kind))
    if isinstance(kind, type):
        return _read_class(kind)
    raise Undeclared(f"{kind!r} is no type of a column")


def find_fields(kind: Any) -> list[tuple[str, Any]] | None:
    """The names and types of the fields of a row class: a dataclass, a pydantic model, a TypedDict
    or a named tuple. None for anything else."""
    if not isinstance(kind, type):
        return None
    models = getattr(kind, "model_fields", None)
    if isinstance(models, dict):
        found = [(name, each.annotation) for name, each in models.items()]
        computed = getattr(kind, "model_computed_fields", {})
        return found + [(name, each.return_type) for name, each in computed.items()]
    if not (dataclasses.is_dataclass(kind) or is_typeddict(kind) or hasattr(kind, "_fields")):
        return None
    hints = get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        return [(each.name, hints[each.name]) for each in dataclasses.fields(kind)]
    return list(hints.items())


def find_declared(steps: Sequence[Step]) -> dict[str, pa.DataType]:
    """What the function that makes the rows declares by its return annotation: the types of columns
    by name, as far as it says them."""
    making = next((step for step in reversed(steps) if step.kind != "filter"), None)
    if making is None or making.kind == "map_batches":
        return {}
    declared = {}
    for name, kind in find_fields(_find_row_class(making)) or ():
        try:
            declared[name] = read_type(kind)
        except (ValueError, pa.ArrowException):
            continue
    return declared


def _find_row_class(step: Step) -> Any:
    function: Any = step.function
    call = function.__call__ if isinstance(function, type) else function
    try:
        found = get_type_hints(call if hasattr(call, "__code__") else type(call).__call__)
    except Exception:  # noqa: BLE001 - names that are not there, whatever they were meant to be
        return None
    kind = found.get("return")
    if step.kind == "flat_map" and get_origin(kind) in _STREAMS:
        kind = get_args(kind)[0]
    return _without_none(kind)


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        others = [each for each in get_args(kind) if each is not type(None)]
        return others[0] if len(others) == 1 else kind
    return kind


def _read_generic(kind: Any, origin: Any, inner: tuple[Any, ...]) -> pa.DataType:
    if origin in (Annotated, Required, NotRequired):
        return read_type(inner[0])
    if origin is Literal:
        return _read_one([type(each) for each in inner], kind)
    if origin in (Union, types.UnionType):
        return _read_one([each for each in inner if each is not type(None)], kind)
    if origin is tuple:
        return pa.list_(_read_one([each for each in inner if each is not ...], kind))
    if origin in _LISTS:
        return pa.list_(read_type(inner[0]))
    raise Undeclared(f"{kind!r} does not say which columns it has; a TypedDict does")


def _read_one(kinds: Sequence[Any], whole: Any) -> pa.DataType:
    """The one type that values of all these have; ints may stand beside floats."""
    read = list(dict.fromkeys(read_type(each) for each in kinds))
    if set(read) == {pa.int64(), pa.float64()}:
        return pa.float64()
    if len(read) != 1:
        raise Undeclared(f"{whole!r} is of several types, and a column is of one")
    return read[0]


def _read_class(kind: type) -> pa.DataType:
    fields = find_fields(kind)
    if fields is not None:
        return pa.struct([pa.field(name, read_type(each)) for name, each in fields])
    if issubclass(kind, enum.Enum):
        return _read_one([type(each.value) for each in kind], kind)
    if issubclass(kind, pathlib.PurePath):
        return pa.string()
    # Numbers of NumPy, and subclasses of Python's.
    make: Callable[[Any], pa.DataType] = pa.from_numpy_dtype
    if kind.__module__ == "numpy":
        return make(kind)
    base = next((base for base in kind.__mro__ if base in PLAIN), None)
    if base is None:
        raise Undeclared(f"{kind.__name__} is no type of a column")
    return PLAIN[base]
