"""Versions of items that have a key: whether a file or a record is still what it was.

A file's version begins with a byte for its kind: its size and time of change, or its bytes. That
of a record is the digest of its content, as of records without a key.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from struct import Struct
from typing import Literal, get_args

from batten.model.disk.items.versions import UNKNOWN, VERSION_BYTES
from batten.sources.paths import source_error

Changed = Literal["stat", "content", "ignore"]
Removed = Literal["keep", "drop"]

BY_STAT = b"\x01"
BY_CONTENT = b"\x02"
_BLOCK_BYTES = 1 << 20
_SIZE_AND_TIME = Struct("<qq").pack


UNREADABLE = blake2b(b"unreadable", digest_size=VERSION_BYTES).digest()
"""Of a record whose content can't be read: it has changed once it can be read."""


def check_changed(
    source: str, changed: str, removed: str, *, is_file: bool = False, has_key: bool = True
) -> None:
    """Raises `UsageError` for what is none of the options, or is of no use without a key."""
    if not has_key and (changed, removed) != ("content", "keep"):
        raise source_error(
            f"{source}: changed= and removed= are of rows that are known by a key, and there is no "
            "key=.",
            "Give key=, or leave the two out.",
        )
    allowed = get_args(Changed) if is_file else ("content", "ignore")
    for name, value, values in (
        ("changed", changed, allowed),
        ("removed", removed, get_args(Removed)),
    ):
        if value not in values:
            listed = " or ".join(map(repr, values))
            why = ""
            if value == "stat":
                why = " A record has no size and time of its own: its version is its content."
            raise source_error(
                f"{source}({name}={value!r}): it is {listed}.{why}",
                f"Give one of them, or leave {name}= out.",
            )


def version_of_file(path: str | bytes, changed: str) -> bytes:
    """That of the file of now; `UNKNOWN` where it can't be read this time."""
    try:
        if changed == "content":
            return BY_CONTENT + _digest_file(path)
        status = os.stat(path)
    except FileNotFoundError:
        kind = BY_CONTENT if changed == "content" else BY_STAT
        return kind + _shorten(b"nothing is there")
    except OSError:
        return UNKNOWN
    return BY_STAT + _shorten(_SIZE_AND_TIME(status.st_size, status.st_mtime_ns))


def version_of_object(version: str, size: int) -> bytes:
    """That of an object of now, by what its store says of it."""
    return BY_STAT + _shorten(f"{version} {size}".encode())


def _digest_file(path: str | bytes) -> bytes:
    digest = blake2b(digest_size=VERSION_BYTES - 1)
    with open(path, "rb", buffering=0) as file:
        while data := file.read(_BLOCK_BYTES):
            digest.update(data)
    return digest.digest()


def _shorten(data: bytes) -> bytes:
    return blake2b(data, digest_size=VERSION_BYTES - 1).digest()
