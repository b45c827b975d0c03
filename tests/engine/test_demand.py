"""Whether one more task is wanted, by what is in hand."""

from __future__ import annotations

from collections import deque

import pytest

from batten.drive.handing_out.demand import Demand
from batten.drive.handing_out.handed_out import HandedOut
from batten.drive.handing_out.open_batch import OpenBatch, Range
from batten.work.work_sizes import Allotment


def count_wanted(demand: Demand, handed_out: HandedOut, *, has_schema: bool = True) -> int:
    """How many are in hand when no more is wanted."""
    batch = OpenBatch(number=0, items=10, todo=deque())
    while demand.wants_task(handed_out, has_schema=has_schema):
        handed_out.add(batch, Range(start=0, stop=10))
    return len(handed_out)


def make(slots: int, *, range_items: int | None = None) -> Demand:
    allotment = Allotment(slots=slots, range_items=range_items)
    demand = Demand(allotment, batch_items=10, items_left=4000)
    demand.pace.take(16, executed=16, seconds=0.001)
    return demand


def test_workers_have_tasks_in_hand_that_wait() -> None:
    assert count_wanted(make(2), HandedOut()) > 2


@pytest.mark.parametrize("has_schema", [True, False])
def test_while_all_fail_or_no_schema_is_known_no_task_waits_behind_another(
    has_schema: bool,
) -> None:
    demand = make(2)
    demand.is_failing = has_schema
    assert count_wanted(demand, HandedOut(), has_schema=has_schema) == 2


def test_a_machine_that_has_nothing_gets_a_task_though_others_have_many() -> None:
    demand, handed_out = make(2), HandedOut()
    many = count_wanted(demand, handed_out)
    demand.has_idle = lambda: len(handed_out) < many + 3
    assert count_wanted(demand, handed_out) == many + 3


def test_ranges_of_calls_keep_places_filled() -> None:
    """Of ranges with many items in hand, another is wanted when those that wait are too few."""
    demand, handed_out = make(8, range_items=10), HandedOut()
    assert count_wanted(demand, handed_out) == 2
    handed_out.begin(1)
    assert count_wanted(demand, handed_out) == 3


def test_more_machines_have_more_in_hand() -> None:
    demand = make(8, range_items=10)
    demand.resize(8, 3)
    assert count_wanted(demand, HandedOut()) == 4


def test_a_piece_has_as_many_items_as_a_range_or_as_its_time_says() -> None:
    work = Range(start=0, stop=1000)
    assert make(8, range_items=10).size_piece(work) == 10
    assert Demand(Allotment(slots=8), batch_items=10, items_left=4000).size_piece(work) == 1
