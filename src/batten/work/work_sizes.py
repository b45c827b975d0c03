"""How much work is handed out at a time, from what items took so far."""

from __future__ import annotations

from dataclasses import dataclass

from batten.model.value_class import value_class
from batten.work.bench import CHUNK_SECONDS
from batten.work.staged.staging_pace import ANSWERS_A_SECOND_MAX, ANSWERS_MAX

TASKS_A_SLOT_MAX = 64

SHARE_SECONDS_MIN = 0.04
"""Towards the end work is cut finer, so that all workers end together, but not finer than this."""

FINEST_SHARE = 8
"""Work for other machines is not cut finer than to this part of what a task takes: to ask for the
next one takes longer than here."""

SLOW_ITEMS_A_SECOND = 100.0
"""Items of which no more end may be dear, and are put aside sooner. Of others that costs time,
unless each takes longer than `SHORT_SECONDS`."""

SHORT_SECONDS = 0.05
"""The least work between two times that a worker puts aside what it has. It takes a hundredth of
that."""

TELLING_ITEMS = 16
"""So many items tell their mean time better than what was thought before."""


@value_class
class Allotment:
    """How much is handed out at a time: to `slots` workers, each with at least `tasks_a_slot_min`
    tasks at hand, of about `task_seconds`, by default a
    quarter of one. The `unit_items` that a function takes together go together; with `range_items`
    a task has so many, however long they take. `limit`: no item of the plan from there on."""

    slots: int
    tasks_a_slot_min: int = 1
    task_seconds: float | None = None
    unit_items: int | None = None
    range_items: int | None = None
    limit: int | None = None


@dataclass(kw_only=True)
class Pace:
    """Knows no clock but what answers tell. `items_left` is how many items there are still to do,
    for cutting work fine towards the end; `slots`, how many tasks run at a time."""

    slots: int
    tasks_a_slot_min: int = 1
    task_seconds: float | None = None
    items_left: int = 0
    seconds_an_item: float | None = None

    def take(self, items: int, *, executed: int, seconds: float) -> None:
        """So many items are done; `executed` of them took so many seconds together."""
        self.items_left -= items
        if not executed:
            return
        took, known = seconds / executed, self.seconds_an_item
        if known is None or executed >= TELLING_ITEMS:
            self.seconds_an_item = took
        else:
            self.seconds_an_item = (known + took) / 2

    @property
    def _task_seconds(self) -> float:
        return CHUNK_SECONDS if self.task_seconds is None else self.task_seconds

    @property
    def items_a_task(self) -> int:
        """What likely takes `task_seconds`, or less of slow items, and no more than a fair share of
        what is left. One, while nothing is known."""
        seconds = self.seconds_an_item
        if seconds is None:
            return 1
        least = SHARE_SECONDS_MIN if self.task_seconds is None else self.task_seconds / FINEST_SHARE
        share = max(self.items_left // (4 * self.slots), int(least / seconds))
        most = int(self._task_seconds / seconds)
        slow = SLOW_ITEMS_A_SECOND if seconds < SHORT_SECONDS else ANSWERS_A_SECOND_MAX
        if self.task_seconds is None and self.slots / seconds <= slow:
            # All workers together hold few answers that are not put aside.
            most = min(most, max(1 + ANSWERS_MAX // self.slots, int(SHORT_SECONDS / seconds)))
        return max(1, min(most, share))

    def tasks_a_slot(self, items: int) -> int:
        """How many tasks of so many items, at most, a worker should have at hand. They are
        `task_seconds` of work, so that the worker does not wait while the driver publishes. If the
        driver delivers, or works with other machines, it is one more. Towards the end there are
        fewer, so that nobody waits for one worker."""
        seconds = self.seconds_an_item
        if seconds is None:
            return 1
        share = self.items_left // (2 * self.slots * min(items, self.items_a_task))
        wanted = max(self.tasks_a_slot_min, int(self._task_seconds / (seconds * items)))
        return max(1, min(TASKS_A_SLOT_MAX, wanted, share))
