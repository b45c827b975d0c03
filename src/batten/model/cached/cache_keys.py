"""A key of the cache as bytes: equal bytes for equal keys, other bytes for any other.

Every value carries its type and its length, so that no two keys can run into each other: `1`,
`1.0`, `True` and `"1"` are four keys, and so are `(1, 2)` and `[1, 2]`. The order of a dict or set
does not count. All NaNs are one value; `0.0` and `-0.0` are two.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable
from typing import Any

Describe = Callable[[Any], bytes]
"""Gives the bytes of a value that is not plain; equal bytes for equal values."""

_NAN = b"d" + struct.pack(">d", float("nan"))
_pack_double = struct.Struct(">d").pack


def digest_key(key: Any, describe: Describe) -> str:
    """The SHA-256 of the key, in hexadecimal. Raises what `describe` raises, and `RecursionError`
    for a key that holds itself."""
    return hashlib.sha256(encode_key(key, describe)).hexdigest()


def encode_key(key: Any, describe: Describe) -> bytes:
    """The bytes of the key. What is not plain (files, functions) is left to `describe`."""
    encoder = _ENCODERS.get(type(key))
    if encoder is None:
        return _frame(b"x", describe(key))
    return encoder(key, describe)


def _encode_none(value: None, describe: Describe) -> bytes:
    return b"n"


def _encode_boolean(value: bool, describe: Describe) -> bytes:
    return b"t" if value else b"f"


def _encode_integer(value: int, describe: Describe) -> bytes:
    return b"i%x;" % value


def _encode_double(value: float, describe: Describe) -> bytes:
    return b"d" + _pack_double(value) if value == value else _NAN  # NaN differs from itself


def _encode_complex(value: complex, describe: Describe) -> bytes:
    return b"c" + _encode_double(value.real, describe) + _encode_double(value.imag, describe)


def _encode_text(value: str, describe: Describe) -> bytes:
    return _frame(b"s", value.encode("utf-8", "surrogatepass"))


def _encode_bytes(value: bytes, describe: Describe) -> bytes:
    return _frame(b"b", value)


def _encode_tuple(value: tuple[Any, ...], describe: Describe) -> bytes:
    return b"(%d;" % len(value) + b"".join([encode_key(item, describe) for item in value])


def _encode_list(value: list[Any], describe: Describe) -> bytes:
    return b"[%d;" % len(value) + b"".join([encode_key(item, describe) for item in value])


def _encode_dict(value: dict[Any, Any], describe: Describe) -> bytes:
    pairs = [encode_key(name, describe) + encode_key(value[name], describe) for name in value]
    return _in_order(b"{", pairs)


def _encode_set(value: Iterable[Any], describe: Describe) -> bytes:
    tag = b"z" if type(value) is frozenset else b"u"
    return _in_order(tag, [encode_key(item, describe) for item in value])


def _in_order(tag: bytes, pieces: list[bytes]) -> bytes:
    pieces.sort()
    return tag + b"%d;" % len(pieces) + b"".join(pieces)


def _frame(tag: bytes, data: bytes) -> bytes:
    return tag + b"%d;" % len(data) + data


_ENCODERS: dict[type, Callable[[Any, Describe], bytes]] = {
    type(None): _encode_none,
    bool: _encode_boolean,
    int: _encode_integer,
    float: _encode_double,
    complex: _encode_complex,
    str: _encode_text,
    bytes: _encode_bytes,
    tuple: _encode_tuple,
    list: _encode_list,
    dict: _encode_dict,
    set: _encode_set,
    frozenset: _encode_set,
}
"""By the exact type: a subclass may mean anything."""
