"""The keys of batches, read from the plan; and by them, what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import compress
from typing import Any

from batten.errors import StorageError
from batten.ledger.files.plan_file import KEY, PlanFile
from batten.model.disk.names import Layout
from batten.model.disk.outcomes import decode_outcomes
from batten.model.disk.published import Published
from batten.model.disk.records import Segment, Unreadable
from batten.model.rules.accounting import PlannedBatch, PlannedBatches
from batten.model.words import Outcome
from batten.storage.base import Store


class PlanKeys:
    """Reads keys as they stand in the output; keeps the last segment open."""

    def __init__(self, storage: Store, layout: Layout, plan: PlannedBatches) -> None:
        self._storage = storage
        self._layout = layout
        self._plan = plan
        self._number = -1
        self._file: PlanFile | None = None

    def find(self, planned: PlannedBatch) -> list[str] | list[int] | None:
        """The keys of a batch, or None if the plan's file of keys is gone or damaged."""
        segment = self._plan.segments[planned.segment]
        if not segment.is_keyed:
            return list(range(planned.first_ordinal, planned.first_ordinal + planned.items))
        if segment.number != self._number:
            self._file = self._open(segment)
            self._number = segment.number
        if self._file is None:
            return None
        try:
            keys: list[str] = self._file.read(planned.position).column(KEY).to_pylist()
        except Unreadable:
            return None
        return keys

    def _open(self, segment: Segment) -> PlanFile | None:
        name = self._layout.segment_keys(segment.number, segment.keys_digest)
        try:
            data = self._storage.read(name, bytes_max=segment.keys_size)
            return PlanFile(data, segment)
        except (FileNotFoundError, StorageError, Unreadable):
            return None


def select_keys(keys: list[Any], claim: Published, wanted: Outcome) -> list[Any]:
    """Those of a batch's keys whose items had that outcome."""
    return list(compress(keys, (each is wanted for each in decode_outcomes(claim.outcomes))))


def select_keys_of_rows(keys: list[Any], claim: Published) -> list[Any]:
    """Those of a batch's keys whose items have rows."""
    return list(compress(keys, (each.has_rows for each in decode_outcomes(claim.outcomes))))


def list_missing_keys(
    keys: PlanKeys, plan: PlannedBatches, batches: Iterable[int], claims: Mapping[int, Published]
) -> Iterator[str]:
    """The keys whose rows were in parts that are gone. Without a record, all of the batch."""
    for batch in batches:
        planned, claim = plan.find(batch), claims.get(batch)
        found = keys.find(planned) if planned is not None else None
        if found is None or planned is None:
            continue
        is_known = claim is not None and claim.items == planned.items
        rows = select_keys_of_rows(found, claim) if claim and is_known else found
        yield from map(str, rows)
