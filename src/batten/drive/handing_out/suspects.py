"""Items that may have ended a worker or a run: tried with nothing else in hand, and few at once.

Each gets a new process (decision 0059).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from batten.drive.handing_out.flight import Blame
from batten.drive.handing_out.open_batch import OpenBatch, Range, split_blamed


class Suspects:
    """Ranges with a `company`, which wait for their turn. Those that crashes of earlier runs are
    blamed on are among them from the beginning."""

    def __init__(self, blame: Blame) -> None:
        self._blame = blame
        self._waiting: deque[tuple[OpenBatch, Range]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def count_items(self) -> int:
        return sum(work.stop - work.start for _, work in self._waiting)

    def add(self, batch: OpenBatch, work: Range, *, is_first: bool = False) -> None:
        if is_first:
            self._waiting.appendleft((batch, work))
        else:
            self._waiting.append((batch, work))

    def divide(self, batch: OpenBatch, gaps: Iterable[tuple[int, int]], first_item: int) -> None:
        """What is to be done of a batch: who is to blame waits here, the others in the batch."""
        for work in split_blamed(gaps, first_item, self._blame):
            if work.company is None:
                batch.todo.append(work)
            else:
                self.add(batch, work)

    def take(self, running: Sequence[Range | None]) -> tuple[OpenBatch, Range] | None:
        """The next, if what is running leaves room for it; None is work on no items."""
        if not self._waiting or not all(work and work.company for work in running):
            return None
        batch, work = self._waiting[0]
        items = sum(each.stop - each.start for each in running if each is not None)
        if running and items + work.stop - work.start > (work.company or 0):
            return None
        self._waiting.popleft()
        return batch, work
