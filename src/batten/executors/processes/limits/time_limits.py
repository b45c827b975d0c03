"""Whether the item that a worker has in hand is over its time limit.

Nothing can interrupt a function that does not return. So the driver looks at the marks of each
worker, and the worker of an overdue item is killed."""

from __future__ import annotations

from time import monotonic_ns

from batten.executors.base import IDLE, TimedOut
from batten.executors.marks import ITEM, ITEM_LIMIT, ITEM_STARTED, TASK


def look_at_limit(record: memoryview) -> tuple[TimedOut | None, float | None]:
    """The overdue item, and the seconds that are left to one that is not; neither where none is in
    hand."""
    task_id, item = record[TASK], record[ITEM]
    started, limit_seconds = record[ITEM_STARTED], record[ITEM_LIMIT] / 1e9
    # Read twice: the time belongs to this item only if it is still in hand.
    if item == IDLE or (record[TASK], record[ITEM]) != (task_id, item):
        return None, None
    seconds = (monotonic_ns() - started) / 1e9
    if seconds > limit_seconds:
        return TimedOut(task_id=task_id, item=item, limit_seconds=limit_seconds), None
    return None, limit_seconds - seconds
