"""Batches are begun in the order of the plan: what of each is staged, and what is left to do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from batten.drive.handing_out.open_batch import BatchLeft, OpenBatch, cut_gaps
from batten.drive.handing_out.suspects import Suspects
from batten.model.rules.coverage import choose_cover
from batten.plan.plan import Plan
from batten.work.work_sizes import Pace


class Opening:
    """Begins one batch after the other. `is_exhausted`: all have been begun. `adopted_items` are
    those that an earlier run had staged. No item of the plan is begun from the `limit` on."""

    def __init__(
        self,
        plan: Plan,
        pending: Iterable[int],
        *,
        find_left: Callable[[int], BatchLeft],
        limit: int | None,
        suspects: Suspects,
        pace: Pace,
    ) -> None:
        self._plan = plan
        self._pending = iter(pending)
        self._find_left = find_left
        self._limit = limit
        self._suspects = suspects
        self._pace = pace
        self.is_exhausted = False
        self.adopted_items = 0

    def open_next(self) -> OpenBatch | None:
        """The next one, or None if all have been begun."""
        number = next(self._pending, None)
        planned = self._plan.batch(number) if number is not None else None
        if planned is None or (self._limit is not None and planned.first_item >= self._limit):
            self._pending = iter(())
            self.is_exhausted = True
            return None
        within = planned.items if self._limit is None else self._limit - planned.first_item
        return self._open(self._find_left(planned.number), within)

    def reopen(self, left: BatchLeft) -> OpenBatch:
        """One that is published, to be done to its end, whatever the limit is."""
        items = self._plan.batch(left.number).items
        self._pace.items_left += items
        return self._open(left, items)

    def _open(self, left: BatchLeft, within: int) -> OpenBatch:
        """With what is left to do of its first items, `within` so many."""
        planned = self._plan.batch(left.number)
        chunks, gaps = choose_cover(left.chunks, planned.items)
        batch = OpenBatch(
            number=planned.number,
            items=planned.items,
            todo=deque(),
            chunks=chunks,
            sealed=left.sealed,
            is_reopened=left.is_reopened,
        )
        self.adopted_items += batch.staged_items - left.kept_items
        self._pace.items_left -= batch.staged_items
        if batch.sealed is None:
            self._suspects.divide(batch, cut_gaps(gaps, within), planned.first_item)
        return batch
