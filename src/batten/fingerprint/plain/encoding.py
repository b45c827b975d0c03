"""The bytes of a value."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PosixPath, PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from batten.fingerprint.plain.letters import (
    COMPLEX,
    DATE,
    DELTA,
    DEPTH_MAX,
    DTYPE,
    FLOAT,
    SIZE,
    TIME,
    VERSION,
    NotPlain,
)


def encode_plain(value: object) -> bytes:
    """The bytes of a value. Raises `NotPlain`."""
    out = bytearray((VERSION,))
    try:
        _put(value, out, 0)
    except struct.error as error:
        raise NotPlain(f"a value of more than 4 GiB: {error}") from error
    return bytes(out)


def _put(value: Any, out: bytearray, depth: int) -> None:
    put = _PUTTERS.get(type(value)) or _find_library_putter(value)
    if depth > DEPTH_MAX:
        raise NotPlain(f"something nested more than {DEPTH_MAX} deep")
    put(value, out, depth)


def _put_int(value: int, out: bytearray, depth: int) -> None:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    _put_sized(b"i", data, out)


def _put_sized(letter: bytes, data: bytes | memoryview, out: bytearray) -> None:
    out += letter
    out += SIZE.pack(len(data))
    out += data


def _put_str(value: str, out: bytearray, depth: int) -> None:
    _put_sized(b"s", value.encode("utf-8", "surrogatepass"), out)


def _put_each(letter: bytes) -> Callable[[Any, bytearray, int], None]:
    def put(values: Any, out: bytearray, depth: int) -> None:
        out += letter
        out += SIZE.pack(len(values))
        for value in values:
            _put(value, out, depth + 1)

    return put


def _put_dict(values: dict[Any, Any], out: bytearray, depth: int) -> None:
    out += b"m"
    out += SIZE.pack(len(values))
    for key, value in values.items():
        _put(key, out, depth + 1)
        _put(value, out, depth + 1)


def _put_parts(
    letter: bytes, parts: Callable[[Any], Iterable[object]]
) -> Callable[[Any, bytearray, int], None]:
    """A value that is told by a few others."""

    def put(value: Any, out: bytearray, depth: int) -> None:
        out += letter
        for part in parts(value):
            _put(part, out, depth + 1)

    return put


def _pack_time(value: datetime | time) -> bytes:
    return TIME.pack(value.hour, value.minute, value.second, value.microsecond, value.fold)


def _put_datetime(value: datetime, out: bytearray, depth: int) -> None:
    out += b"x" + _pack_date(value) + _pack_time(value)
    _put(value.tzinfo, out, depth + 1)


def _put_time(value: time, out: bytearray, depth: int) -> None:
    out += b"z" + _pack_time(value)
    _put(value.tzinfo, out, depth + 1)


def _pack_date(value: date) -> bytes:
    return DATE.pack(value.year, value.month, value.day)


def _put_zone(value: ZoneInfo, out: bytearray, depth: int) -> None:
    if value.key is None:
        raise NotPlain("a time zone without a name")
    out += b"k"
    _put_str(value.key, out, depth)


_PUTTERS: dict[type, Callable[[Any, bytearray, int], None]] = {
    type(None): lambda value, out, depth: out.extend(b"N"),
    bool: lambda value, out, depth: out.extend(b"T" if value else b"F"),
    int: _put_int,
    float: lambda value, out, depth: out.extend(b"d" + FLOAT.pack(value)),
    complex: lambda value, out, depth: out.extend(b"c" + COMPLEX.pack(value.real, value.imag)),
    str: _put_str,
    bytes: lambda value, out, depth: _put_sized(b"b", value, out),
    bytearray: lambda value, out, depth: _put_sized(b"a", value, out),
    list: _put_each(b"l"),
    tuple: _put_each(b"t"),
    set: _put_each(b"S"),
    frozenset: _put_each(b"Z"),
    dict: _put_dict,
    range: _put_parts(b"r", lambda value: (value.start, value.stop, value.step)),
    datetime: _put_datetime,
    date: lambda value, out, depth: out.extend(b"y" + _pack_date(value)),
    time: _put_time,
    timedelta: lambda value, out, depth: out.extend(
        b"w" + DELTA.pack(value.days, value.seconds, value.microseconds)
    ),
    timezone: _put_parts(b"o", lambda value: (value.utcoffset(None), _find_zone_name(value))),
    ZoneInfo: _put_zone,
    Decimal: _put_parts(b"D", lambda value: (str(value),)),
    UUID: lambda value, out, depth: out.extend(b"u" + value.bytes),
    PosixPath: _put_parts(b"p", lambda value: (str(value),)),
    PurePosixPath: _put_parts(b"P", lambda value: (str(value),)),
}


def _find_zone_name(zone: timezone) -> str | None:
    """The name that it was given, if any."""
    name = zone.tzname(None)
    return None if name == timezone(zone.utcoffset(None)).tzname(None) else name


def _find_library_putter(value: object) -> Callable[[Any, bytearray, int], None]:
    """For types of libraries that are imported already: a value of theirs is there."""
    numpy, arrow = sys.modules.get("numpy"), sys.modules.get("pyarrow")
    if numpy is not None and type(value) is numpy.ndarray:
        return _put_array
    if numpy is not None and isinstance(value, numpy.generic):
        return _put_scalar
    if arrow is not None and type(value) is arrow.Table:
        return lambda value, out, depth: _put_arrow(b"W", value, out)
    if arrow is not None and type(value) is arrow.RecordBatch:
        return lambda value, out, depth: _put_arrow(b"R", value, out)
    raise NotPlain(f"a {type(value).__module__}.{type(value).__qualname__}")


def _put_dtype(value: Any, out: bytearray, depth: int) -> None:
    name = value.dtype.str
    if not DTYPE.fullmatch(name) or value.dtype.fields or value.dtype.subdtype:
        raise NotPlain(f"an array or a scalar of {value.dtype}")
    _put_str(name, out, depth)


def _put_scalar(value: Any, out: bytearray, depth: int) -> None:
    out += b"n"
    _put_dtype(value, out, depth)
    _put_sized(b"b", value.tobytes() if value.dtype.itemsize else b"", out)


def _put_array(value: Any, out: bytearray, depth: int) -> None:
    out += b"A"
    _put_dtype(value, out, depth)
    _put(value.shape, out, depth + 1)
    _put_sized(b"b", value.tobytes(), out)


def _put_arrow(letter: bytes, value: Any, out: bytearray) -> None:
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, value.schema) as writer:
        writer.write(value)
    _put_sized(letter, memoryview(sink.getvalue()), out)
