"""How much is handed out at a time, by what answers tell. No clock."""

from __future__ import annotations

import pytest

from batten.work.bench import CHUNK_SECONDS
from batten.work.staged.staging_pace import ANSWERS_A_SECOND_MAX, ANSWERS_MAX
from batten.work.work_sizes import (
    FINEST_SHARE,
    SHARE_SECONDS_MIN,
    SHORT_SECONDS,
    TASKS_A_SLOT_MAX,
    TELLING_ITEMS,
    Pace,
)
from batten.work.workforce import FAR_SECONDS

MANY = 10**9


def pace(seconds: float | None, *, left: int = MANY, slots: int = 4, tasks_min: int = 1) -> Pace:
    return Pace(slots=slots, tasks_a_slot_min=tasks_min, items_left=left, seconds_an_item=seconds)


def test_one_item_while_nothing_is_known() -> None:
    assert (pace(None).items_a_task, pace(None).tasks_a_slot(10)) == (1, 1)


@pytest.mark.parametrize(
    ("seconds", "items"), [(100.0, 1), (CHUNK_SECONDS, 1), (0.1, 2), (0.01, 25), (0.001, 250)]
)
def test_a_quarter_of_a_second(seconds: float, items: int) -> None:
    assert pace(seconds).items_a_task == items


@pytest.mark.parametrize("slots", [1, 3, 10, 50, 500])
@pytest.mark.parametrize("seconds", [SHORT_SECONDS, 0.1, 1.0, 10.0])
def test_no_more_answers_of_slow_calls_wait_than_a_kill_may_cost(
    slots: int, seconds: float
) -> None:
    if slots / seconds <= ANSWERS_A_SECOND_MAX:
        assert slots * (pace(seconds, slots=slots).items_a_task - 1) <= ANSWERS_MAX


@pytest.mark.parametrize(("left", "items"), [(1600, 100), (160, 40), (1, 40)])
def test_cut_finer_towards_the_end(left: int, items: int) -> None:
    """A quarter of a fair share of what is left, but not less than is worth its while."""
    assert SHARE_SECONDS_MIN / 0.001 == 40
    assert pace(0.001, left=left).items_a_task == items


@pytest.mark.parametrize(
    ("seconds", "items", "tasks_min", "tasks"),
    [
        (1.0, 1, 1, 1),
        (1.0, 1, 2, 2),
        (0.01, 1, 1, 25),
        (0.01, 5, 1, 5),
        (0.01, 5, 8, 8),
        (1e-6, 1, 1, TASKS_A_SLOT_MAX),
    ],
)
def test_tasks_at_hand(seconds: float, items: int, tasks_min: int, tasks: int) -> None:
    assert pace(seconds, tasks_min=tasks_min).tasks_a_slot(items) == tasks


def test_towards_the_end_nobody_has_what_others_wait_for() -> None:
    assert pace(0.01, left=80).tasks_a_slot(5) == 2
    assert pace(0.01, left=3, tasks_min=2).tasks_a_slot(5) == 1


@pytest.mark.parametrize("slots", [1, 2, 8, 64])
def test_other_machines_have_a_task_that_waits_almost_to_the_end(slots: int) -> None:
    """Else each would wait for the next word of the run while others have two."""
    finest = FAR_SECONDS / FINEST_SHARE
    far = Pace(slots=slots, tasks_a_slot_min=2, task_seconds=FAR_SECONDS, seconds_an_item=0.05)
    for far.items_left in range(4 * slots * int(finest / 0.05), 200 * slots):
        assert far.tasks_a_slot(40) == 2
        assert far.items_a_task >= int(finest / 0.05)


def test_many_items_tell_more_than_what_was_thought_before() -> None:
    known = pace(1.0, left=1000)
    known.take(TELLING_ITEMS - 1, executed=TELLING_ITEMS - 1, seconds=0.0)
    assert known.seconds_an_item == 0.5
    known.take(TELLING_ITEMS, executed=TELLING_ITEMS, seconds=TELLING_ITEMS * 3.0)
    assert known.seconds_an_item == 3.0
    assert known.items_left == 1000 - 2 * TELLING_ITEMS + 1


def test_what_was_not_executed_tells_nothing() -> None:
    known = pace(None, left=10)
    known.take(4, executed=0, seconds=9.0)
    assert (known.seconds_an_item, known.items_left) == (None, 6)
    known.take(2, executed=1, seconds=3.0)
    assert known.seconds_an_item == 3.0
