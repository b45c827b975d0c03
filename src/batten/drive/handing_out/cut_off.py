"""Work whose worker ended in the midst of it: what of it is done again, and what is given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from batten.drive.handing_out.handed_out import HandedOut
from batten.drive.handing_out.open_batch import OpenBatch, Range
from batten.drive.handing_out.suspects import Suspects
from batten.plan.plan import Plan
from batten.work.calling.calls import Failure

Failing = Callable[[int, int], Failure]

HALVED_LOSSES = 2
LOSSES_MAX = 3
"""An item that was alone in hand at so many ends of machines is not tried again."""


class CutOff:
    """Puts back what tasks had in hand that ended so. Each `failure` makes the record of an item
    that is given up, from the item's number in the batch and the number of tries."""

    def __init__(
        self, plan: Plan, handed_out: HandedOut, suspects: Suspects, unit_items: int | None
    ) -> None:
        self._plan = plan
        self._handed_out = handed_out
        self._suspects = suspects
        self._unit_items = unit_items

    def put_back(self, task_id: int) -> None:
        """A worker died with no item in hand: its task is done again."""
        batch, work = self._handed_out.end(task_id)
        if work is None:
            return
        if work.company:
            self._suspects.add(batch, work, is_first=True)
        else:
            batch.todo.appendleft(work)

    def died(self, task_id: int, item: int, failure: Failing) -> None:
        """A worker died with item number `item` of the plan in hand. What came before it is done
        again. What was in hand is tried alone. If it kills again, it is given up, or if it is of
        several items, each of these is tried alone."""
        batch, work = self._handed_out.end(task_id)
        if work is None:
            return
        start, unit = self._find_unit(batch, work, item)
        suspect = Range(
            start=start,
            stop=start + unit,
            deaths=work.deaths + 1,
            is_apart=work.is_apart,
            company=1,
        )
        batch.put_back_around(work, suspect)
        if suspect.deaths < 2:
            self._suspects.add(batch, suspect)
        elif unit > 1:
            for place in range(suspect.start, suspect.stop):
                single = Range(start=place, stop=place + 1, deaths=1, is_apart=True, company=1)
                self._suspects.add(batch, single)
        else:
            _give_up(batch, start, failure(start, suspect.deaths))

    def timed_out(self, task_id: int, item: int, tries: int, failure: Failing) -> None:
        """An item took too long and its worker was killed; it is tried `tries` times in all."""
        batch, work = self._handed_out.end(task_id)
        if work is None:
            return
        start, unit = self._find_unit(batch, work, item)
        timeouts = work.timeouts + 1
        overdue = Range(start=start, stop=start + unit, timeouts=timeouts, is_apart=work.is_apart)
        batch.put_back_around(work, overdue)
        if timeouts < tries:
            batch.todo.appendleft(overdue)
        elif unit > 1:
            for place in range(overdue.stop - 1, overdue.start - 1, -1):
                batch.todo.appendleft(Range(start=place, stop=place + 1, is_apart=True))
        else:
            _give_up(batch, start, failure(start, timeouts))

    def lose(self, task_id: int, failure: Failing) -> None:
        """A machine is gone that had begun the task, so which item was in hand isn't known. Work
        that is lost again is halved, until an item that ends its machine is alone (decision
        0131)."""
        batch, work = self._handed_out.end(task_id)
        if work is None:
            return
        losses, unit = work.losses + 1, self._unit_items or 1
        if losses >= LOSSES_MAX and work.stop - work.start == 1:
            condemned = failure(work.start, losses)
            batch.todo.appendleft(replace(work, losses=losses, condemned=condemned))
        elif losses >= HALVED_LOSSES and work.stop - work.start > unit:
            middle = work.start + max(unit, (work.stop - work.start) // 2 // unit * unit)
            batch.todo.appendleft(replace(work, start=middle, losses=1))
            batch.todo.appendleft(replace(work, stop=middle, losses=1))
        elif losses >= LOSSES_MAX:
            for place in range(work.stop - 1, work.start - 1, -1):
                again = Range(start=place, stop=place + 1, is_apart=True, losses=1)
                batch.todo.appendleft(again)
        else:
            batch.todo.appendleft(replace(work, losses=losses))

    def _find_unit(self, batch: OpenBatch, work: Range, item: int) -> tuple[int, int]:
        """Where in its batch the item was in hand, and with how many it was called."""
        start = min(
            max(item - self._plan.batch(batch.number).first_item, work.start), work.stop - 1
        )
        is_one = self._unit_items is None or work.is_apart
        return start, 1 if is_one else work.stop - start


def _give_up(batch: OpenBatch, start: int, failure: Failure) -> None:
    batch.todo.appendleft(Range(start=start, stop=start + 1, condemned=failure))
