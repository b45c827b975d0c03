"""Roll-ups: one object with the commit records of a full thousand of batches (decision 0135).

It has a record a line, as each is found in its own object, and a last line that closes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, ClassVar

from batten.model.disk.bounds import BATCHES_MAX, RECORD_BYTES_MAX, Hexadecimal, Number, Position
from batten.model.disk.bounds import Version as FormatVersion
from batten.model.disk.published import Published, decode_published
from batten.model.disk.records import Unreadable, decode_record, encode_record
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.model.words import FORMAT_VERSION

ROLLED_BATCHES = 1000
"""So many batches have a roll-up in common."""


@value_class
class RolledUp:
    """The last line of a roll-up: of which batches it is, and the SHA-256 of the lines before."""

    first_batch: Position
    batches: Annotated[int, Number(1, BATCHES_MAX)]
    digest: Hexadecimal
    format_version: FormatVersion = FORMAT_VERSION

    bytes_max: ClassVar[int] = 4096


def span_of(number: int) -> range:
    """The batches of the roll-up of that number."""
    return range(number * ROLLED_BATCHES, (number + 1) * ROLLED_BATCHES)


def number_of(batch: int) -> int:
    """The number of the roll-up that the batch belongs to."""
    return batch // ROLLED_BATCHES


def encode_rolled(number: int, records: Sequence[bytes]) -> bytes:
    """Of all records of the span, in order. Raises `Unreadable` where one is no record of its
    batch, or all together are too large."""
    body = b"".join(records)
    end = RolledUp(
        first_batch=span_of(number).start,
        batches=len(records),
        digest=hashlib.sha256(body).hexdigest(),
    )
    data = body + encode_record(end)
    decode_rolled(number, data)
    return data


def decode_rolled(number: int, data: bytes) -> list[Published]:
    """What the records say, in the order of the batches. Raises `Unreadable` or `NewerFormat`."""
    if len(data) > RECORD_BYTES_MAX["rolled"]:
        raise Unreadable(f"it has {count_of(len(data), 'byte')}, more than any file of its kind")
    span, count = span_of(number), data.count(b"\n")
    if count != len(span) + 1:
        raise Unreadable(f"it has {count} lines, not one for each of its batches and one more")
    lines = [line + b"\n" for line in data.split(b"\n")[:-1]]
    end = decode_record(RolledUp, lines[-1])
    body = data[: -len(lines[-1])]
    if (end.first_batch, end.batches) != (span.start, len(span)):
        raise Unreadable(f"it is of {end.batches} batches from {end.first_batch} on")
    if hashlib.sha256(body).hexdigest() != end.digest:
        raise Unreadable("its digest does not fit: it was damaged, or changed by hand")
    claims = [decode_published(line) for line in lines[:-1]]
    if [claim.batch for claim in claims] != list(span):
        raise Unreadable("its records are of other batches")
    return claims
