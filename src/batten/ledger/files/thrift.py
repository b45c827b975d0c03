"""Numbers, structs and lists as Thrift's compact protocol writes them, from bytes that may be odd.

A field is announced by a byte: how far its number is from the one before, and its kind. Numbers are
varints, small ones short, with the sign in the last bit. A list is announced by its size and the
kind of what is in it. A zero ends a struct.
"""

from __future__ import annotations

from batten.model.disk.records import Unreadable

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _FLOAT, _TEXT, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_TRUTHS = frozenset({_TRUE, _FALSE})
_NUMBERS = frozenset({_I16, _I32, _I64})
_DEPTH_MAX = 12
_ODD = "a page or the footer of it has odd fields"

Found = dict[int, object]
"""The numbers, structs and lists of a struct, by the numbers of their fields."""


def read_struct(data: bytes, at: int, depth: int = 0) -> tuple[Found, int]:
    """What it holds, and where it ends. Texts and truths are passed over. Raises `IndexError` if
    the data ends before it does, and `Unreadable` for what no Parquet file has."""
    found: Found = {}
    field = 0
    while head := data[at]:
        at += 1
        kind, step = head & 0x0F, head >> 4
        if step:
            field += step
        else:
            number, at = _read_varint(data, at)
            field = _signed(number)
        if kind in _TRUTHS:
            continue
        # Most numbers and sizes take one byte, and there are some hundred of them in a footer.
        short = data[at]
        if short < 0x80 and kind in _NUMBERS:
            found[field], at = _signed(short), at + 1
        elif short < 0x80 and kind == _TEXT:
            found[field], at = None, at + 1 + short
        else:
            found[field], at = _read_value(data, at, kind, depth)
    return found, at + 1


def _read_value(data: bytes, at: int, kind: int, depth: int) -> tuple[object, int]:
    if kind in _NUMBERS:
        number, at = _read_varint(data, at)
        return _signed(number), at
    if kind == _STRUCT and depth < _DEPTH_MAX:
        return read_struct(data, at, depth + 1)
    if kind == _LIST and depth < _DEPTH_MAX:
        return _read_list(data, at, depth + 1)
    if kind in _TRUTHS or kind == _BYTE:
        return None, at + 1
    if kind == _FLOAT:
        return None, at + 8
    if kind == _TEXT:
        size, at = _read_varint(data, at)
        return None, at + size
    raise Unreadable(_ODD)


def _read_list(data: bytes, at: int, depth: int) -> tuple[list[object], int]:
    head, at = data[at], at + 1
    size, kind = head >> 4, head & 0x0F
    if size == 0x0F:
        size, at = _read_varint(data, at)
    if size > len(data) - at:
        raise IndexError("there are fewer bytes than elements")
    found = []
    for _ in range(size):
        value, at = _read_value(data, at, kind, depth)
        found.append(value)
    return found, at


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise Unreadable(_ODD)


def _signed(number: int) -> int:
    return (number >> 1) ^ -(number & 1)
