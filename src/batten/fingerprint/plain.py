"""Values as bytes and back, without code: what is read from a file is data and nothing else.

A closed list of types, each with a letter; nothing is imported or called by a name that the bytes
hold. A value is of exactly one of these types, or it is not plain: subclasses, classes of the
user's own and enums are not. The first byte is the version. Decision 0035.

    N T F                       None, True, False
    i d c                       int (of any size), float, complex
    s b a                       str (lone surrogates too), bytes, bytearray
    l t m S Z r                 list, tuple, dict (in order), set, frozenset, range
    x y z w o k                 datetime, date, time, timedelta, fixed time zone, named time zone
    D u p P                     Decimal, UUID, Path, PurePosixPath
    n A                         scalar and array of NumPy, but for those of objects or fields
    W R                         table and record batch of Arrow
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from pathlib import PosixPath, PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

VERSION = 1
"""The first byte of an encoded value. That of a pickle is 0x80."""

_SIZE = struct.Struct("<I")
_FLOAT = struct.Struct("<d")
_COMPLEX = struct.Struct("<dd")
_DATE = struct.Struct("<HBB")
_TIME = struct.Struct("<BBBIB")
_DELTA = struct.Struct("<iii")
_DEPTH_MAX = 200
_DTYPE = re.compile(r"[<>|](?:[biufc]\d{1,2}|[SU]\d{1,9}|[mM]8(?:\[\d*[A-Za-zμ]{1,2}\])?)")


class NotPlain(TypeError):
    """A value that has no place in this list; the text says what it is."""


class BadValue(ValueError):
    """Bytes that no value was made into."""


def encode_plain(value: object) -> bytes:
    """The bytes of a value. Raises `NotPlain`."""
    out = bytearray((VERSION,))
    try:
        _put(value, out, 0)
    except struct.error as error:
        raise NotPlain(f"a value of more than 4 GiB: {error}") from error
    return bytes(out)


def decode_plain(data: bytes) -> Any:
    """The value of the bytes. Raises `BadValue`, whatever they are."""
    if not data or data[0] != VERSION:
        raise BadValue("not a value in a version that this batten knows")
    source = _Source(data)
    try:
        value = source.take(0)
    except BadValue:
        raise
    except (ValueError, TypeError, OverflowError, KeyError, InvalidOperation, OSError) as error:
        raise BadValue(f"not a value: {error}") from error
    except (ImportError, MemoryError) as error:
        raise BadValue(f"a value that can't be had here: {error}") from error
    if source.place != len(data):
        raise BadValue("more than one value")
    return value


def is_plain_bytes(data: bytes) -> bool:
    """Whether these are bytes of `encode_plain`, by the first of them."""
    return data[:1] == bytes((VERSION,))


def _put(value: Any, out: bytearray, depth: int) -> None:
    put = _PUTTERS.get(type(value)) or _find_library_putter(value)
    if depth > _DEPTH_MAX:
        raise NotPlain(f"something nested more than {_DEPTH_MAX} deep")
    put(value, out, depth)


def _put_int(value: int, out: bytearray, depth: int) -> None:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    _put_sized(b"i", data, out)


def _put_sized(letter: bytes, data: bytes | memoryview, out: bytearray) -> None:
    out += letter
    out += _SIZE.pack(len(data))
    out += data


def _put_str(value: str, out: bytearray, depth: int) -> None:
    _put_sized(b"s", value.encode("utf-8", "surrogatepass"), out)


def _put_each(letter: bytes) -> Callable[[Any, bytearray, int], None]:
    def put(values: Any, out: bytearray, depth: int) -> None:
        out += letter
        out += _SIZE.pack(len(values))
        for value in values:
            _put(value, out, depth + 1)

    return put


def _put_dict(values: dict[Any, Any], out: bytearray, depth: int) -> None:
    out += b"m"
    out += _SIZE.pack(len(values))
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
    return _TIME.pack(value.hour, value.minute, value.second, value.microsecond, value.fold)


def _put_datetime(value: datetime, out: bytearray, depth: int) -> None:
    out += b"x" + _pack_date(value) + _pack_time(value)
    _put(value.tzinfo, out, depth + 1)


def _put_time(value: time, out: bytearray, depth: int) -> None:
    out += b"z" + _pack_time(value)
    _put(value.tzinfo, out, depth + 1)


def _pack_date(value: date) -> bytes:
    return _DATE.pack(value.year, value.month, value.day)


def _put_zone(value: ZoneInfo, out: bytearray, depth: int) -> None:
    if value.key is None:
        raise NotPlain("a time zone without a name")
    out += b"k"
    _put_str(value.key, out, depth)


_PUTTERS: dict[type, Callable[[Any, bytearray, int], None]] = {
    type(None): lambda value, out, depth: out.extend(b"N"),
    bool: lambda value, out, depth: out.extend(b"T" if value else b"F"),
    int: _put_int,
    float: lambda value, out, depth: out.extend(b"d" + _FLOAT.pack(value)),
    complex: lambda value, out, depth: out.extend(b"c" + _COMPLEX.pack(value.real, value.imag)),
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
        b"w" + _DELTA.pack(value.days, value.seconds, value.microseconds)
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
    if not _DTYPE.fullmatch(name) or value.dtype.fields or value.dtype.subdtype:
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


class _Source:
    """Takes values from bytes; `place` is the next that is not taken. What it makes is never much
    larger than the bytes it is made of."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 1

    def take(self, depth: int) -> Any:
        if depth > _DEPTH_MAX:
            raise BadValue("nested too deeply")
        take = _TAKERS.get(self.raw(1))
        if take is None:
            raise BadValue(f"no value begins so, at {self.place - 1}")
        return take(self, depth + 1)

    def raw(self, size: int) -> bytes:
        start, self.place = self.place, self.place + size
        if self.place > len(self._data):
            raise BadValue("torn")
        return self._data[start : self.place]

    def count(self) -> int:
        """How many bytes or values follow: each takes a byte at least."""
        count: int = _SIZE.unpack(self.raw(4))[0]
        if count > len(self._data) - self.place:
            raise BadValue("torn")
        return count

    def sized(self, depth: int = 0) -> bytes:
        return self.raw(self.count())

    def text(self, depth: int) -> str:
        return self.sized().decode("utf-8", "surrogatepass")

    def typed(self, kind: type, depth: int) -> Any:
        value = self.take(depth)
        if type(value) is not kind:
            raise BadValue(f"a {type(value).__name__}, where a {kind.__name__} belongs")
        return value

    def many(self, depth: int) -> list[Any]:
        count = self.count()
        return [self.take(depth) for _ in range(count)]

    def mapping(self, depth: int) -> dict[Any, Any]:
        count = self.count()
        return {self.take(depth): self.take(depth) for _ in range(count)}

    def zone(self, depth: int) -> Any:
        value = self.take(depth)
        if value is not None and type(value) not in (timezone, ZoneInfo):
            raise BadValue(f"a {type(value).__name__}, where a time zone belongs")
        return value

    def datetime(self, depth: int) -> datetime:
        day = date(*_DATE.unpack(self.raw(_DATE.size)))
        return datetime.combine(day, self.time(depth))

    def time(self, depth: int) -> time:
        hour, minute, second, microsecond, fold = _TIME.unpack(self.raw(_TIME.size))
        return time(hour, minute, second, microsecond, self.zone(depth), fold=fold)

    def fixed_zone(self, depth: int) -> timezone:
        offset, name = self.typed(timedelta, depth), self.take(depth)
        return timezone(offset) if name is None else timezone(offset, name)

    def named_zone(self, depth: int) -> ZoneInfo:
        return ZoneInfo(self.typed(str, depth))

    def dtype(self, depth: int) -> Any:
        import numpy

        name = self.typed(str, depth)
        if not _DTYPE.fullmatch(name):
            raise BadValue("no type of numbers or texts")
        return numpy.dtype(name)

    def scalar(self, depth: int) -> Any:
        dtype = self.dtype(depth)
        data = self.typed(bytes, depth)
        if len(data) != dtype.itemsize:
            raise BadValue("torn")
        return _view(data, dtype)[0] if data else dtype.type()

    def array(self, depth: int) -> Any:
        dtype = self.dtype(depth)
        shape = self.typed(tuple, depth)
        data = self.typed(bytes, depth)
        count = len(data) // dtype.itemsize if dtype.itemsize else 0
        return _view(data, dtype, count).reshape(shape).copy()

    def table(self, depth: int) -> Any:
        import pyarrow

        try:
            table = pyarrow.ipc.open_stream(pyarrow.py_buffer(self.sized())).read_all()
            table.validate(full=True)
        except pyarrow.ArrowException as error:
            raise BadValue(f"no table: {error}") from error
        return table

    def record_batch(self, depth: int) -> Any:
        import pyarrow

        table = self.table(depth)
        batches = table.to_batches() or [pyarrow.RecordBatch.from_pylist([], schema=table.schema)]
        if len(batches) > 1:
            raise BadValue("more than one record batch")
        return batches[0]


def _view(data: bytes, dtype: Any, count: int = -1) -> Any:
    """NumPy believes that texts hold characters, and ends badly where they don't."""
    import numpy

    if not data:
        return numpy.zeros(0, dtype)
    if dtype.kind == "U" and len(data) % 4:
        raise BadValue("torn")
    if dtype.kind == "U" and numpy.frombuffer(data, f"{dtype.str[0]}u4").max() > sys.maxunicode:
        raise BadValue("not characters")
    return numpy.frombuffer(data, dtype, count)


def _call(make: Callable[[Any], Any], kind: type) -> Callable[[_Source, int], Any]:
    return lambda source, depth: make(source.typed(kind, depth))


_TAKERS: dict[bytes, Callable[[_Source, int], Any]] = {
    b"N": lambda source, depth: None,
    b"T": lambda source, depth: True,
    b"F": lambda source, depth: False,
    b"i": lambda source, depth: int.from_bytes(source.sized(), "little", signed=True),
    b"d": lambda source, depth: _FLOAT.unpack(source.raw(8))[0],
    b"c": lambda source, depth: complex(*_COMPLEX.unpack(source.raw(16))),
    b"s": _Source.text,
    b"b": _Source.sized,
    b"a": lambda source, depth: bytearray(source.sized()),
    b"l": _Source.many,
    b"t": lambda source, depth: tuple(source.many(depth)),
    b"S": lambda source, depth: set(source.many(depth)),
    b"Z": lambda source, depth: frozenset(source.many(depth)),
    b"m": _Source.mapping,
    b"r": lambda source, depth: range(*(source.typed(int, depth) for _ in range(3))),
    b"x": _Source.datetime,
    b"y": lambda source, depth: date(*_DATE.unpack(source.raw(_DATE.size))),
    b"z": _Source.time,
    b"w": lambda source, depth: timedelta(*_DELTA.unpack(source.raw(_DELTA.size))),
    b"o": _Source.fixed_zone,
    b"k": _Source.named_zone,
    b"D": _call(Decimal, str),
    b"u": lambda source, depth: UUID(bytes=source.raw(16)),
    b"p": _call(PosixPath, str),
    b"P": _call(PurePosixPath, str),
    b"n": _Source.scalar,
    b"A": _Source.array,
    b"W": _Source.table,
    b"R": _Source.record_batch,
}
