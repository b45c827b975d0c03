"""What parts say of themselves, and what is known of their place by that."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import field
from itertools import count

from batten.ledger.facts.batches.held_claims import Claims, Recorded
from batten.ledger.facts.batches.listed_parts import PartSizes
from batten.model.disk.footer import TAIL_SIZE, decode_footer, find_footer_size
from batten.model.disk.published import Published, published_by_footer
from batten.model.disk.records import Completion, PartDescription, Segment, Unreadable
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.storage.base import READ_BYTES_MAX, Store


@value_class
class PublishedBatches:
    """What is known of the batches whose parts are there: see `Observation`."""

    recorded: Recorded = field(default_factory=Recorded)
    claims: Claims = field(default_factory=Claims)
    early: frozenset[int] = frozenset()
    is_vouched: bool = False
    lost_records: frozenset[int] = frozenset()


def published_by_footer_of(storage: Store, name: str) -> Published:
    """What is known of a batch by its part alone. Raises `Unreadable`, or `StorageError`."""
    return published_by_footer(describe_part(storage, name))


def describe_part(storage: Store, name: str) -> PartDescription:
    """What a part says of itself. Raises `Unreadable`, or `StorageError`."""
    size = find_footer_size(storage.read(name, offset=-TAIL_SIZE, length=TAIL_SIZE))
    if size > READ_BYTES_MAX:
        raise Unreadable(f"it says that its footer has {count_of(size, 'byte')}")
    footer = storage.read(name, offset=-(size + TAIL_SIZE), length=size)
    return decode_footer(footer)


def is_vouched(completion: Completion, parts: PartSizes) -> bool:
    """Quarantine files are recorded batch by batch, so where there are any the records are read."""
    return completion.quarantined == 0 and parts.are(completion.part_sizes)


def find_early(
    parts: Collection[int], settled: Collection[int], segments: Iterable[Segment]
) -> frozenset[int]:
    """Parts are recorded once all before them are durable, so beyond the first batch of which
    nothing is known, those without a record are not proven to be in their place."""
    planned = sum(segment.batches for segment in segments)
    gap = next(batch for batch in count() if batch not in parts and batch not in settled)
    return frozenset(batch for batch in parts if gap < batch < planned and batch not in settled)
