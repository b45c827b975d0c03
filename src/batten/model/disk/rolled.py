"""Roll-ups: one object with the commit records of a full thousand of batches (decision 0135).

It has a record a line, as each is found in its own object, and a last line that closes it. That
line has the sum of these records as well, so that most looks need nothing else (decision 0163).
"""

from __future__ import annotations

import hashlib
from dataclasses import field
from typing import Annotated, ClassVar

from batten.model.disk.bounds import (
    BATCHES_MAX,
    RECORD_BYTES_MAX,
    Count,
    Hexadecimal,
    Many,
    MaybeHexadecimal,
    Number,
    Position,
)
from batten.model.disk.bounds import Version as FormatVersion
from batten.model.disk.published import Published, decode_published
from batten.model.disk.records import Unreadable, decode_record
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.model.words import FORMAT_VERSION

ROLLED_BATCHES = 1000
"""So many batches have a roll-up in common."""


@value_class
class RolledUp:
    """The last line of a roll-up: of which batches it is, and the SHA-256 of the lines before.

    The other fields are what these lines say together: see `ledger.facts.batches.rolled_sums`.
    `failed` are the digests of parts, by the numbers of their batches, of which items are
    quarantined. An earlier batten wrote none of these, and of some records there is no sum: then
    `sizes` and `planned` are empty."""

    first_batch: Position
    batches: Annotated[int, Number(1, BATCHES_MAX)]
    digest: Hexadecimal
    sizes: MaybeHexadecimal = ""
    planned: MaybeHexadecimal = ""
    rows: Count = 0
    committed: Count = 0
    filtered: Count = 0
    quarantined: Count = 0
    removed: Count = 0
    adopted: Count = 0
    failed: Annotated[dict[str, Hexadecimal], Many(ROLLED_BATCHES)] = field(default_factory=dict)
    format_version: FormatVersion = FORMAT_VERSION

    bytes_max: ClassVar[int] = 1 << 17

    @property
    def is_summed(self) -> bool:
        """Whether it says what the records say together."""
        return bool(self.sizes)

    @property
    def failed_batches(self) -> dict[int, str]:
        """`failed` by number."""
        return {int(batch): digest for batch, digest in self.failed.items()}

    def find_fault(self) -> str:
        """In which way its fields don't fit each other."""
        span = range(self.first_batch, self.first_batch + self.batches)
        if bool(self.sizes) is not bool(self.planned):
            return "it has half a sum"
        if not all(_is_within(batch, span) for batch in self.failed):
            return "failed items are of other batches"
        if len(self.failed) > self.quarantined:
            return f"{self.quarantined} items are quarantined, in {len(self.failed)} batches"
        return ""


def _is_within(batch: str, span: range) -> bool:
    return len(batch) < 16 and batch.isdecimal() and str(int(batch)) == batch and int(batch) in span


def span_of(number: int) -> range:
    """The batches of the roll-up of that number."""
    return range(number * ROLLED_BATCHES, (number + 1) * ROLLED_BATCHES)


def number_of(batch: int) -> int:
    """The number of the roll-up that the batch belongs to."""
    return batch // ROLLED_BATCHES


def decode_rolled(number: int, data: bytes) -> list[Published]:
    """What the records say, in the order of the batches. Raises `Unreadable` or `NewerFormat`."""
    if len(data) > RECORD_BYTES_MAX["rolled"]:
        raise Unreadable(f"it has {count_of(len(data), 'byte')}, more than any file of its kind")
    span, count = span_of(number), data.count(b"\n")
    if count != len(span) + 1:
        raise Unreadable(f"it has {count} lines, not one for each of its batches and one more")
    end = decode_end(number, data)
    lines = [line + b"\n" for line in data.split(b"\n")[:-2]]
    if hashlib.sha256(b"".join(lines)).hexdigest() != end.digest:
        raise Unreadable("its digest does not fit: it was damaged, or changed by hand")
    claims = [decode_published(line) for line in lines]
    if [claim.batch for claim in claims] != list(span):
        raise Unreadable("its records are of other batches")
    return claims


def decode_end(number: int, data: bytes) -> RolledUp:
    """What the last line says, of a roll-up or of as much of its end as has that line. Raises
    `Unreadable` or `NewerFormat`."""
    end = decode_record(RolledUp, data[find_end(data) :])
    span = span_of(number)
    if (end.first_batch, end.batches) != (span.start, len(span)):
        raise Unreadable(f"it is of {end.batches} batches from {end.first_batch} on")
    return end


def find_end(data: bytes) -> int:
    """Where the last line begins: 0 where there is no other, or it begins earlier."""
    return data.rfind(b"\n", 0, max(0, len(data) - 1)) + 1
