"""The keys of batches, read from the plan; and by them, what is missing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import compress
from typing import Any

from batten.errors import StorageError
from batten.model.accounting import Plan, PlannedBatch
from batten.model.names import Layout
from batten.model.outcomes import decode_outcomes
from batten.model.published import Published
from batten.model.words import Outcome
from batten.storage.base import Storage


class PlanKeys:
    """Reads keys as they stand in the output; keeps the last segment open."""

    def __init__(self, storage: Storage, layout: Layout, plan: Plan) -> None:
        self._storage = storage
        self._layout = layout
        self._plan = plan
        self._number = -1
        self._reader: Any = None

    def find(self, planned: PlannedBatch) -> list[str] | list[int] | None:
        """The keys of a batch, or None where the plan's file of keys is gone or damaged."""
        segment = self._plan.segments[planned.segment]
        if not segment.is_keyed:
            return list(range(planned.first_ordinal, planned.first_ordinal + planned.items))
        if segment.number != self._number:
            self._reader = self._open(segment.number, segment.keys_digest)
            self._number = segment.number
        if self._reader is None:
            return None
        keys: list[str] = self._reader.get_batch(planned.position).column("key").to_pylist()
        return keys

    def _open(self, number: int, digest: str) -> Any:
        import pyarrow as pa

        try:
            data = self._storage.read(self._layout.segment_keys(number), bytes_max=None)
        except (FileNotFoundError, StorageError):
            return None
        # Arrow trusts what it reads: a damaged file could end the process.
        if hashlib.sha256(data).hexdigest() != digest:
            return None
        return pa.ipc.open_file(pa.py_buffer(data))


def select_keys(keys: list[Any], claim: Published, wanted: Outcome) -> list[Any]:
    """Those of a batch's keys whose items had that outcome."""
    return list(compress(keys, (each is wanted for each in decode_outcomes(claim.outcomes))))


def list_missing_keys(
    keys: PlanKeys, plan: Plan, batches: Iterable[int], claims: dict[int, Published]
) -> Iterator[str]:
    """The keys whose rows were in parts that are gone. Without a record, all of the batch."""
    for batch in batches:
        planned, claim = plan.find(batch), claims.get(batch)
        found = keys.find(planned) if planned is not None else None
        if found is None or planned is None:
            continue
        is_known = claim is not None and claim.items == planned.items
        rows = select_keys(found, claim, Outcome.COMMITTED) if claim and is_known else found
        yield from map(str, rows)
