"""What the records of a roll-up say together (decision 0163).

A look needs of nearly all batches only that they are as planned, have the size that their parts
have, and how many items of each outcome they hold. So a roll-up says that of all its records in one
line. Sizes and plan are two digests: who knows the parts and the plan makes the same of them.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Protocol

from batten.model.disk.published import Published
from batten.model.disk.records import encode_record
from batten.model.disk.rolled import RolledUp, decode_rolled, span_of
from batten.model.rules.accounting import (
    OutcomeCounts,
    find_own_fault,
    sum_outcomes,
    tally_outcomes,
)


class _OfPlan(Protocol):
    @property
    def items(self) -> int: ...

    @property
    def keys(self) -> str: ...


def encode_rolled(number: int, records: Sequence[bytes]) -> bytes:
    """Of all records of the span, in order. Raises `Unreadable` where one is no record of its
    batch, or all together are too large."""
    body = b"".join(records)
    digest = hashlib.sha256(body).hexdigest()
    span = span_of(number)
    bare = RolledUp(first_batch=span.start, batches=len(records), digest=digest)
    claims = decode_rolled(number, body + encode_record(bare))
    return body + encode_record(sum_up(number, claims, digest))


def sum_up(number: int, claims: Sequence[Published], digest: str) -> RolledUp:
    """The last line of a roll-up of these, whose lines have this digest. There is no sum where one
    of them does not fit itself, or its part says it alone."""
    first = span_of(number).start
    if any(claim.size is None or find_own_fault(claim) for claim in claims):
        return RolledUp(first_batch=first, batches=len(claims), digest=digest)
    counts = sum_outcomes(claim.outcomes for claim in claims)
    return RolledUp(
        first_batch=first,
        batches=len(claims),
        digest=digest,
        sizes=digest_sizes(array("q", [claim.size or 0 for claim in claims])),
        planned=digest_plan(claims),
        rows=sum(claim.rows for claim in claims),
        committed=counts.committed,
        filtered=counts.filtered,
        quarantined=counts.quarantined,
        removed=counts.removed,
        adopted=counts.adopted,
        failed={
            str(claim.batch): str(claim.digest)
            for claim in claims
            if tally_outcomes(claim.outcomes).quarantined
        },
    )


def digest_sizes(sizes: array[int]) -> str:
    """SHA-256 of the sizes of parts in bytes, in order: eight bytes each, the lowest first."""
    if sys.byteorder == "big":
        sizes = sizes[:]
        sizes.byteswap()
    return hashlib.sha256(sizes.tobytes()).hexdigest()


def digest_plan(batches: Iterable[_OfPlan]) -> str:
    """SHA-256 of how many items each batch has, and of what stands for their keys, a line each."""
    lines = [f"{batch.items} {batch.keys}\n" for batch in batches]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def count_of_sum(end: RolledUp) -> OutcomeCounts:
    """How many items of each outcome it has."""
    return OutcomeCounts(
        committed=end.committed,
        filtered=end.filtered,
        quarantined=end.quarantined,
        removed=end.removed,
        adopted=end.adopted,
    )
