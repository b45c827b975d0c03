"""What a part says of itself, read from the bytes of its Parquet footer without a Parquet library.

A Parquet file ends with its footer (Thrift, compact protocol), the footer's length (four bytes,
little endian) and `PAR1`. Towards the end of the footer are key-value pairs: a string is its length
as a varint and its bytes, and a value that follows its key is announced by one byte.
"""

from __future__ import annotations

from batten.model.disk.records import PART_KEY, PartDescription, Unreadable, decode_record

TAIL_SIZE = 8
"""Bytes at the end of a file that tell where its footer begins."""

_MAGIC = b"PAR1"
_KEY = bytes([len(PART_KEY)]) + PART_KEY.encode()
_VALUE_FOLLOWS = 0x18


def decode_part(data: bytes) -> PartDescription:
    """What a part says of itself, from all its bytes; raises `Unreadable`."""
    size = find_footer_size(data[-TAIL_SIZE:])
    return decode_footer(data[-(size + TAIL_SIZE) : -TAIL_SIZE])


def find_footer_size(tail: bytes) -> int:
    """Bytes of the footer, without the tail; from the last `TAIL_SIZE` bytes of a file."""
    if len(tail) != TAIL_SIZE or tail[4:] != _MAGIC:
        raise Unreadable("it does not end as a Parquet file does")
    return int.from_bytes(tail[:4], "little")


def decode_footer(footer: bytes) -> PartDescription:
    """The description in a footer; raises `Unreadable` where there is none, or a torn one."""
    at = footer.rfind(_KEY)
    if at < 0:
        raise Unreadable(f"its footer holds no {PART_KEY!r}")
    at += len(_KEY)
    if footer[at : at + 1] != bytes([_VALUE_FOLLOWS]):
        raise Unreadable(f"the {PART_KEY!r} of its footer has no value")
    size, start = _read_varint(footer, at + 1)
    value = footer[start : start + size]
    if len(value) != size:
        raise Unreadable(f"the {PART_KEY!r} of its footer is torn")
    return decode_record(PartDescription, value + b"\n")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if byte < 0x80:
            return value, at
    raise Unreadable(f"the {PART_KEY!r} of its footer is torn")
