"""What an entry of the cache says of itself.

A manifest is one record on the first line, and a body after it: of an entry with files their
listing, of an entry that is a value the value itself. A hit needs the first line alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Annotated, ClassVar

from batten.model.cached.cache_names import CACHE_FORMAT
from batten.model.disk.bounds import (
    MEBIBYTE,
    RECORD_BYTES_MAX,
    Bytes,
    Count,
    Hexadecimal,
    Many,
    Name,
    PathWithin,
    Version,
)
from batten.model.disk.records import Unreadable, decode_record, encode_record, open_record
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class

BLOCK_BYTES = 4096
"""What a file or a folder takes on disk is counted in blocks of so many bytes."""

NAMES_MAX = 10**7
"""How many files an entry can have."""

LINE_BYTES = 512
"""The first line has never more."""

START_BYTES = 4096
"""So much is read at first: the line, and the whole of a small value."""

BODY_BYTES_MAX = 512 * MEBIBYTE
"""What follows it has never more: a larger value is not kept."""

SIZE_BYTES = 64
"""So much of a manifest tells the size of its entry."""

_USUAL = re.compile(
    rb'\{"size": (\d{1,18}), "is_value": (true|false), "top_names": (\d{1,15}), '
    rb'"boot": "([0-9a-f-]*)", "body_size": (\d{1,18}), "body_digest": "([0-9a-f]{64})", '
    rb'"format_version": %d\}' % CACHE_FORMAT
)

_SIZE = re.compile(rb'\{"size": (\d{1,18}),')


@value_class
class Manifest:
    """The first line. `size` is what the entry takes on disk, in bytes and whole blocks. `boot`
    names the start of the machine in which it was written, `top_names` counts what lies directly
    in its folder of files. An entry that `is_value` has no files, and its body is the value."""

    size: Bytes
    is_value: bool
    top_names: Count
    boot: Name
    body_size: Bytes
    body_digest: Hexadecimal
    format_version: Version = CACHE_FORMAT


@value_class
class Listing:
    """The files of an entry in the order of their names, relative and with `/`, each with its size
    and SHA-256; and all folders within."""

    names: Annotated[list[PathWithin], Many(NAMES_MAX)]
    sizes: Annotated[list[Bytes], Many(NAMES_MAX)]
    digests: Annotated[list[Hexadecimal], Many(NAMES_MAX)]
    folders: Annotated[list[PathWithin], Many(NAMES_MAX)]
    format_version: Version = CACHE_FORMAT

    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["cache listing"]

    def find_fault(self) -> str:
        """In which way its fields don't fit each other."""
        if not len(self.names) == len(self.sizes) == len(self.digests):
            return "it has not as many names as sizes and digests"
        return ""

    @property
    def top_names(self) -> int:
        return len({name.partition("/")[0] for name in (*self.names, *self.folders)})

    def files(self) -> Iterator[tuple[str, int, str]]:
        yield from zip(self.names, self.sizes, self.digests, strict=True)


def encode_listing(listing: Listing, *, boot: str) -> bytes:
    """The manifest of an entry with files."""
    folders = 2 + len(listing.folders)
    blocks = sum(map(count_blocks, listing.sizes)) + folders
    body = encode_record(listing)
    return _encode(body, blocks, boot, is_value=False, top_names=listing.top_names)


def encode_value(value: bytes, *, boot: str) -> bytes:
    """The manifest of an entry that is a value."""
    return _encode(value, 1, boot, is_value=True, top_names=0)


def _encode(body: bytes, blocks: int, boot: str, *, is_value: bool, top_names: int) -> bytes:
    manifest = Manifest(
        size=BLOCK_BYTES * (blocks + count_blocks(LINE_BYTES + len(body))),
        is_value=is_value,
        top_names=top_names,
        boot=boot,
        body_size=len(body),
        body_digest=hashlib.sha256(body).hexdigest(),
    )
    return encode_record(manifest) + body


def decode_manifest(data: bytes) -> tuple[Manifest, bytes]:
    """The first line, and the body unchecked. Raises `Unreadable`."""
    manifest, at = decode_start(data, len(data))
    return manifest, data[at:]


def decode_start(start: bytes, size: int) -> tuple[Manifest, int]:
    """The first line of a manifest of so many bytes, from its first `START_BYTES`, and where the
    body begins. Raises `Unreadable`."""
    at = start.find(b"\n", 0, LINE_BYTES) + 1
    manifest = _decode_head(start[: at or LINE_BYTES])
    if size - at != manifest.body_size:
        follow = count_of(size - at, "byte")
        raise Unreadable(f"after the first line are {follow}, not {manifest.body_size:,}")
    if manifest.body_size > BODY_BYTES_MAX:
        raise Unreadable(f"after the first line are {count_of(manifest.body_size, 'byte')}")
    return manifest, at


def _decode_head(line: bytes) -> Manifest:
    """The same as decoding the record, in a third of the time for one in its usual form."""
    found = _USUAL.fullmatch(open_record(line))
    if found is None:
        return decode_record(Manifest, line)
    size, is_value, top_names, boot, body_size, body_digest = found.groups()
    return Manifest(
        size=int(size),
        is_value=is_value == b"true",
        top_names=int(top_names),
        boot=boot.decode(),
        body_size=int(body_size),
        body_digest=body_digest.decode(),
    )


def check_body(manifest: Manifest, body: bytes) -> bytes:
    """The body itself; raises `Unreadable` where it is not what was written."""
    if hashlib.sha256(body).hexdigest() != manifest.body_digest:
        raise Unreadable("the digest of what follows the first line differs")
    return body


def decode_listing(manifest: Manifest, body: bytes) -> Listing:
    """Raises `Unreadable`."""
    return decode_record(Listing, check_body(manifest, body))


def find_size(start: bytes) -> int | None:
    """The size of an entry from the start of its manifest, without checking anything; or None."""
    match = _SIZE.match(start)
    return int(match[1]) if match else None


def count_blocks(size: int) -> int:
    return -(-size // BLOCK_BYTES)
