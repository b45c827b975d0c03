"""Whether a source without keys still has what was planned, in the same places.

Rows may only be added at its end (decision 0046).
"""

from __future__ import annotations

from array import array

from batten.model.disk.items.row_digests import DIGEST_BYTES
from batten.model.disk.runs.refusals import Way
from batten.model.telling.counts import count_of
from batten.plan.differs_errors import SourceDiffersError
from batten.plan.plan import Plan
from batten.sources.base import ScanBlock
from batten.sources.identity.digests import describe_change, find_difference


class PlannedRows:
    """What is planned, beside what a scan finds. `positions` are those of all planned items, where
    the source has moved some of them; `unproven` the digests found of segments that have none."""

    def __init__(self, plan: Plan, shown: str, ways_on: str) -> None:
        self._plan = plan
        self._shown = shown
        self._ways_on = ways_on
        self._seen = 0
        self.positions: array[int] | None = None
        self.unproven: dict[int, bytearray] = {}

    def take(self, block: ScanBlock) -> int:
        """How many of the block's items are planned. Raises `SourceDiffersError` if an item is not
        the planned one."""
        count = min(block.count, self._plan.items - self._seen)
        if block.digests is not None:
            self._compare(block.digests, count)
        if block.positions is not None and count:
            self._find_moved(array("q", block.positions[:count]))
        self._seen += count
        return count

    def end(self) -> None:
        """The scan is over. Raises `SourceDiffersError` if planned items did not come."""
        refuse_shrunk(self._plan, self._seen, self._ways_on)

    def _compare(self, found: bytes, count: int) -> None:
        for segment in self._plan.segments:
            start = max(segment.first_ordinal, self._seen)
            stop = min(segment.first_ordinal + segment.items, self._seen + count)
            if start >= stop:
                continue
            own = _cut(found, start - self._seen, stop - self._seen)
            planned = self._plan.digests(segment)
            if planned is None:
                self.unproven.setdefault(segment.number, bytearray()).extend(own)
                continue
            first = segment.first_ordinal
            differs = find_difference(_cut(planned, start - first, stop - first), own)
            if differs is not None:
                raise SourceDiffersError(
                    describe_change(self._shown, start + differs),
                    safe="Nothing was changed; what is committed stays.",
                    next=f"Put the rows back as they were, new ones only at the end; or "
                    f"{self._ways_on}. With key= a row is known by its key, wherever it stands.",
                    ways=(Way.FRESH,),
                )

    def _find_moved(self, found: array[int]) -> None:
        if self.positions is None:
            planned = self._plan.positions(self._seen, self._seen + len(found))
            if planned is None or planned == found:
                return
            self.positions = self._plan.positions(0, self._plan.items)
        if self.positions is not None:
            self.positions[self._seen : self._seen + len(found)] = found


def refuse_shrunk(plan: Plan, count: int, ways_on: str) -> None:
    if count < plan.items:
        raise SourceDiffersError(
            f"The source has {count_of(count, 'item')}, but {plan.items} are planned.",
            safe="Nothing was changed; what is committed stays.",
            next=f"Give the source its items back; or {ways_on}.",
            ways=(Way.FRESH,),
        )


def _cut(digests: bytes, start: int, stop: int) -> bytes:
    return digests[start * DIGEST_BYTES : stop * DIGEST_BYTES]
