"""Arrow types from Python's: what a row class or an annotation declares about columns."""

from __future__ import annotations

import collections.abc
import datetime
import decimal
import enum
import ipaddress
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
)

import pyarrow as pa

from batten.rows.row_classes import find_fields, find_root
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
    ipaddress.IPv4Address: pa.string(),
    ipaddress.IPv6Address: pa.string(),
}

_NAMED = {
    "pydantic.types.AwareDatetime": pa.timestamp("us", "UTC"),
    "pydantic.types.NaiveDatetime": pa.timestamp("us"),
    "pydantic.types.PastDatetime": pa.timestamp("us"),
    "pydantic.types.FutureDatetime": pa.timestamp("us"),
    "pydantic.types.PastDate": pa.date32(),
    "pydantic.types.FutureDate": pa.date32(),
    "pydantic.networks.EmailStr": pa.string(),
    "PIL.Image.Image": pa.binary(),
}
"""Classes of others, which need not be installed. An address of pydantic has `unicode_string`."""

_LISTS = (
    *(list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable),
    *(collections.abc.Set, collections.abc.Collection, collections.abc.MutableSequence),
)


class Undeclared(ValueError):
    """A type that says nothing, or not enough, about a column; the text says why."""


def read_type(kind: Any) -> pa.DataType:
    """The type of a column, from an Arrow type, its text, or a type of Python. Raises `ValueError`
    for what is none."""
    try:
        return _read(kind)
    except RecursionError as error:
        raise Undeclared(f"{kind!r} holds itself, and a column ends somewhere") from error


def _read(kind: Any) -> pa.DataType:
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
        return _read(kind.__supertype__)
    if type(kind).__name__ == "TypeAliasType":
        return _read(kind.__value__)
    origin = get_origin(kind)
    if origin is not None:
        return _read_generic(kind, origin, get_args(kind))
    if isinstance(kind, type):
        return _read_class(kind)
    raise Undeclared(f"{kind!r} is no type of a column")


def _read_generic(kind: Any, origin: Any, inner: tuple[Any, ...]) -> pa.DataType:
    if origin is Annotated:
        return _read_annotated(inner[0], kind.__metadata__)
    if origin in (Required, NotRequired):
        return _read(inner[0])
    if origin is Literal:
        return _read_one([type(each) for each in inner], kind)
    if origin in (Union, types.UnionType):
        return _read_one([each for each in inner if each is not type(None)], kind)
    if origin is tuple:
        return pa.list_(_read_one([each for each in inner if each is not ...], kind))
    if origin in _LISTS:
        return pa.list_(_read(inner[0]))
    raise Undeclared(f"{kind!r} does not say which columns it has; a TypedDict does")


def _read_annotated(kind: Any, added: Sequence[Any]) -> pa.DataType:
    """A type of Arrow beside the one of Python says it exactly, as do the digits of a decimal."""
    for each in added:
        if isinstance(each, pa.DataType):
            return each
    digits = next((each for each in added if getattr(each, "max_digits", None)), None)
    if digits is not None and _read(kind) == PLAIN[decimal.Decimal]:
        return pa.decimal128(digits.max_digits, digits.decimal_places or 0)
    return _read(kind)


def _read_one(kinds: Sequence[Any], whole: Any) -> pa.DataType:
    """The one type that values of all these have; ints may stand beside floats."""
    read = list(dict.fromkeys(_read(each) for each in kinds))
    if set(read) == {pa.int64(), pa.float64()}:
        return pa.float64()
    if len(read) != 1:
        raise Undeclared(f"{whole!r} is of several types, and a column is of one")
    return read[0]


def _read_class(kind: type) -> pa.DataType:
    root = find_root(kind)
    if root is not None:
        return _read(root)
    fields = find_fields(kind)
    if fields is not None:
        return pa.struct([pa.field(name, _read(each)) for name, each in fields])
    if issubclass(kind, enum.Enum):
        return _read_one([type(each.value) for each in kind], kind)
    if issubclass(kind, pathlib.PurePath):
        return pa.string()
    named = _NAMED.get(f"{kind.__module__}.{kind.__name__}")
    if named is not None or hasattr(kind, "unicode_string"):
        return named or pa.string()
    # Numbers of NumPy, and subclasses of Python's.
    make: Callable[[Any], pa.DataType] = pa.from_numpy_dtype
    if kind.__module__ == "numpy":
        return make(kind)
    base = next((base for base in kind.__mro__ if base in PLAIN), None)
    if base is None:
        raise Undeclared(f"{kind.__name__} is no type of a column")
    return PLAIN[base]
