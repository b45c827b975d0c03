"""How much work is wanted: whether one more task, and of how many items."""

from __future__ import annotations

from collections.abc import Callable

from batten.drive.handing_out.handed_out import HandedOut
from batten.drive.handing_out.open_batch import Range, cut_evenly
from batten.work.work_sizes import Allotment, Pace


class Demand:
    """What workers should have in hand. `has_idle` says whether a machine has come that has
    nothing, though others have much. `is_failing`: all items fail, so the run may be about to
    stop."""

    def __init__(self, allotment: Allotment, *, batch_items: int, items_left: int) -> None:
        self.pace = Pace(
            slots=allotment.slots,
            tasks_a_slot_min=allotment.tasks_a_slot_min,
            task_seconds=allotment.task_seconds,
            items_left=items_left,
        )
        self._range_items = allotment.range_items
        self._batch_items = batch_items
        self._machines = 1
        self.is_failing = False
        self.has_idle: Callable[[], bool] = lambda: False

    def resize(self, slots: int, machines: int) -> None:
        """So many tasks run at a time from now on, on so many machines."""
        self.pace.slots, self._machines = max(1, slots), machines

    def wants_task(self, handed_out: HandedOut, *, has_schema: bool) -> bool:
        """Whether there should be a task besides these: always where somebody has none. Ranges of a
        fixed size have many items in hand, so enough items besides those of the next range wait for
        a place."""
        if self.has_idle():
            return True
        if self._range_items is None:
            return len(handed_out) < self.pace.slots * self._tasks_a_slot(has_schema=has_schema)
        return sum(handed_out.list_waiting()[self._machines :]) < self.pace.slots

    def _tasks_a_slot(self, *, has_schema: bool) -> int:
        """It is one while there is no schema, since a batch that begins without a schema must be
        sealed again. So it is while all items fail."""
        if self.is_failing or not has_schema:
            return 1
        return self.pace.tasks_a_slot(self._batch_items)

    def size_piece(self, work: Range) -> int:
        """How many items of the range the next task has."""
        return self._range_items or cut_evenly(work, self.pace.items_a_task)
