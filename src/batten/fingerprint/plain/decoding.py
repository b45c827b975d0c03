"""The value of bytes, whatever they are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
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
    BadValue,
)


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


class _Source:
    """Takes values from bytes; `place` is the next that is not taken. What it makes is never much
    larger than the bytes it is made of."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 1

    def take(self, depth: int) -> Any:
        if depth > DEPTH_MAX:
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
        count: int = SIZE.unpack(self.raw(4))[0]
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
        day = date(*DATE.unpack(self.raw(DATE.size)))
        return datetime.combine(day, self.time(depth))

    def time(self, depth: int) -> time:
        hour, minute, second, microsecond, fold = TIME.unpack(self.raw(TIME.size))
        return time(hour, minute, second, microsecond, self.zone(depth), fold=fold)

    def fixed_zone(self, depth: int) -> timezone:
        offset, name = self.typed(timedelta, depth), self.take(depth)
        return timezone(offset) if name is None else timezone(offset, name)

    def named_zone(self, depth: int) -> ZoneInfo:
        return ZoneInfo(self.typed(str, depth))

    def dtype(self, depth: int) -> Any:
        import numpy

        name = self.typed(str, depth)
        if not DTYPE.fullmatch(name):
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
    b"d": lambda source, depth: FLOAT.unpack(source.raw(8))[0],
    b"c": lambda source, depth: complex(*COMPLEX.unpack(source.raw(16))),
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
    b"y": lambda source, depth: date(*DATE.unpack(source.raw(DATE.size))),
    b"z": _Source.time,
    b"w": lambda source, depth: timedelta(*DELTA.unpack(source.raw(DELTA.size))),
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
