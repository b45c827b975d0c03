"""`plan/000000.versions`: what items with a key were when they were last looked at.

First the versions, `VERSION_BYTES` each; then, unless all are 0, the revisions, four bytes each,
little endian: at which revision of its batch the item changed. Last comes the SHA-256 of all
these. The file is replaced as a whole.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from struct import Struct

from batten.model.disk.items.row_digests import DIGEST_BYTES, open_digests, seal_digests
from batten.model.value_class import value_class

VERSION_BYTES = DIGEST_BYTES

UNKNOWN = bytes(VERSION_BYTES)
"""Of an item of which nothing is known: it never counts as changed."""

GONE = b"\xff" * VERSION_BYTES
"""Of an item that the source no longer has, and whose rows are to go."""

_REVISION_BYTES = 4
_SEAL_BYTES = 32

VALUES_BYTES_MAX = 1 << 29
"""Of a file of changed items; batten makes none that is larger."""


def bound_versions(items: int) -> int:
    """The bytes that the versions of so many items take at most."""
    return items * (VERSION_BYTES + _REVISION_BYTES) + _SEAL_BYTES


@value_class
class Versions:
    """Of the items of a segment, in order. `revisions` is empty where no item has changed."""

    versions: bytes
    revisions: array[int]

    def revision_of(self, start: int, stop: int) -> int:
        """The latest revision among items `start` to `stop` of the segment."""
        return max(self.revisions[start:stop], default=0)


def encode_versions(found: Versions) -> bytes:
    revisions = array("I", found.revisions if any(found.revisions) else ())
    if sys.byteorder == "big":
        revisions.byteswap()
    return seal_digests(found.versions + revisions.tobytes())


def decode_versions(data: bytes, items: int) -> Versions | None:
    """Those of so many items, or None where the file was damaged."""
    opened = open_digests(data)
    size = items * VERSION_BYTES
    if opened is None or len(opened) not in (size, size + items * _REVISION_BYTES):
        return None
    revisions = array("I", opened[size:])
    if sys.byteorder == "big":
        revisions.byteswap()
    return Versions(versions=opened[:size], revisions=revisions)


_VALUE_HEAD = Struct("<QQ")


def encode_values(values: Mapping[int, bytes]) -> bytes:
    """`plan/000000.values`: items that have changed, of a source that can't be read twice.

    For each, in order: its number in the segment and its size, eight bytes each, little endian, and
    then itself. Last comes the SHA-256 of all these."""
    return seal_digests(
        b"".join(
            _VALUE_HEAD.pack(number, len(value)) + value for number, value in sorted(values.items())
        )
    )


def decode_values(data: bytes) -> dict[int, bytes] | None:
    """None where the file was damaged."""
    opened = open_digests(data)
    if opened is None:
        return None
    values: dict[int, bytes] = {}
    at = 0
    while at + _VALUE_HEAD.size <= len(opened):
        number, size = _VALUE_HEAD.unpack_from(opened, at)
        at += _VALUE_HEAD.size
        values[number] = opened[at : at + size]
        at += size
    return values if at == len(opened) else None
