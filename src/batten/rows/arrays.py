"""Lists of plain Python values as Arrow arrays.

`pyarrow.array` looks at what it is given, and for that imports pandas where it is installed: in
every worker, longer than many a job runs. So the values that nearly all rows are made of are laid
out here, as Arrow's columnar format says.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa


def integers(values: Iterable[int]) -> pa.Array:
    """Raises `OverflowError` for those beyond 64 bits."""
    return _fixed(pa.int64(), array("q", values), None)


def booleans(values: Sequence[bool]) -> pa.Array:
    return plain_array(values, bool, has_nulls=False)


def texts(values: Sequence[str], validity: pa.Buffer | None = None) -> pa.Array:
    """Raises `UnicodeEncodeError` for those that are not valid Unicode, and `OverflowError` for
    more than two gigabytes."""
    joined = "".join(values)
    if joined.isascii():
        return _pieces(pa.string(), "i", map(len, values), joined.encode(), validity)
    pieces = [value.encode() for value in values]
    return _pieces(pa.string(), "i", map(len, pieces), b"".join(pieces), validity)


def long_texts(values: Sequence[str]) -> pa.Array | pa.ChunkedArray:
    """The same, in several pieces where they have more bytes than one can hold: two gigabytes."""
    try:
        return texts(values)
    except OverflowError:
        return pa.array(values, pa.string())


def large_binaries(values: Sequence[bytes]) -> pa.Array:
    return _pieces(pa.large_binary(), "q", map(len, values), b"".join(values), None)


def plain_array(values: Sequence[Any], kind: type, *, has_nulls: bool) -> pa.Array:
    """Values of one of Python's plain types, some of them None with `has_nulls`."""
    validity = None
    if has_nulls:
        validity = _bits([value is not None for value in values])
        nothing = kind()
        values = [nothing if value is None else value for value in values]
    if kind is int:
        return _fixed(pa.int64(), array("q", values), validity)
    if kind is float:
        return _fixed(pa.float64(), array("d", values), validity)
    if kind is bool:
        return pa.Array.from_buffers(pa.bool_(), len(values), [validity, _bits(values)])
    if kind is str:
        return texts(values, validity)
    return _pieces(pa.binary(), "i", map(len, values), b"".join(values), validity)


def _fixed(kind: pa.DataType, values: array[Any], validity: pa.Buffer | None) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(values)])


def _pieces(
    kind: pa.DataType,
    width: str,
    sizes: Iterable[int],
    data: bytes,
    validity: pa.Buffer | None,
) -> pa.Array:
    ends = array(width, accumulate(sizes, initial=0))
    buffers = [validity, pa.py_buffer(ends), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(ends) - 1, buffers)


def _bits(values: Sequence[bool]) -> pa.Buffer:
    """A bit for each, the first one lowest."""
    digits = "".join(["1" if value else "0" for value in reversed(values)])
    return pa.py_buffer(int(digits or "0", 2).to_bytes(-(-len(values) // 8), "little"))
