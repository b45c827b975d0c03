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

VERSION = 1
"""The first byte of an encoded value. That of a pickle is 0x80."""

SIZE = struct.Struct("<I")
FLOAT = struct.Struct("<d")
COMPLEX = struct.Struct("<dd")
DATE = struct.Struct("<HBB")
TIME = struct.Struct("<BBBIB")
DELTA = struct.Struct("<iii")
DEPTH_MAX = 200
DTYPE = re.compile(r"[<>|](?:[biufc]\d{1,2}|[SU]\d{1,9}|[mM]8(?:\[\d*[A-Za-zμ]{1,2}\])?)")


class NotPlain(TypeError):
    """A value that has no place in this list; the text says what it is."""


class BadValue(ValueError):
    """Bytes that no value was made into."""


def is_plain_bytes(data: bytes) -> bool:
    """Whether these are bytes of `encode_plain`, by the first of them."""
    return data[:1] == bytes((VERSION,))
