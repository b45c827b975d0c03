"""Work whose worker ended in the midst of it: what of it is done again, and what is given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from batten.drive.handing_out.open_batch import OpenBatch, Range
from batten.drive.handing_out.suspects import Suspects
from batten.work.calling.calls import Failure

HALVED_LOSSES = 2
LOSSES_MAX = 3
"""An item that was alone in hand at so many ends of machines is not tried again."""


class Interrupted(NamedTuple):
    """Where in its batch an item was in hand, and with how many it was called."""

    start: int
    unit: int


def put_back_dead(
    batch: OpenBatch,
    work: Range,
    in_hand: Interrupted,
    suspects: Suspects,
    failure: Callable[[int, int], Failure],
) -> None:
    """The worker died: what was in hand is tried alone. If it kills again, it is given up with a
    `failure`, or if it is of several items, each of these is tried alone."""
    start, unit = in_hand
    suspect = Range(
        start=start,
        stop=start + unit,
        deaths=work.deaths + 1,
        is_apart=work.is_apart,
        company=1,
    )
    batch.put_back_around(work, suspect)
    if suspect.deaths < 2:
        suspects.add(batch, suspect)
    elif unit > 1:
        for place in range(suspect.start, suspect.stop):
            single = Range(start=place, stop=place + 1, deaths=1, is_apart=True, company=1)
            suspects.add(batch, single)
    else:
        _give_up(batch, start, failure(start, suspect.deaths))


def put_back_overdue(
    batch: OpenBatch,
    work: Range,
    in_hand: Interrupted,
    tries: int,
    failure: Callable[[int, int], Failure],
) -> None:
    """The worker was killed, since what was in hand took too long: it is tried `tries` times in
    all."""
    start, unit = in_hand
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


def put_back_lost(
    batch: OpenBatch, work: Range, unit: int, failure: Callable[[int, int], Failure]
) -> None:
    """A machine is gone, so which item was in hand isn't known. Work that is lost again is halved,
    until an item that ends its machine is alone: `failure` makes the record of that one (decision
    0131). A call takes `unit` items."""
    losses = work.losses + 1
    if losses >= LOSSES_MAX and work.stop - work.start == 1:
        condemned = failure(work.start, losses)
        batch.todo.appendleft(replace(work, losses=losses, condemned=condemned))
    elif losses >= HALVED_LOSSES and work.stop - work.start > unit:
        middle = work.start + max(unit, (work.stop - work.start) // 2 // unit * unit)
        batch.todo.appendleft(replace(work, start=middle, losses=1))
        batch.todo.appendleft(replace(work, stop=middle, losses=1))
    elif losses >= LOSSES_MAX:
        for place in range(work.stop - 1, work.start - 1, -1):
            batch.todo.appendleft(Range(start=place, stop=place + 1, is_apart=True, losses=1))
    else:
        batch.todo.appendleft(replace(work, losses=losses))


def _give_up(batch: OpenBatch, start: int, failure: Failure) -> None:
    batch.todo.appendleft(Range(start=start, stop=start + 1, condemned=failure))
