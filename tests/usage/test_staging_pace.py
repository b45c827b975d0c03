"""How many answers a kill may cost: few where they come slowly."""

from __future__ import annotations

import pytest

from batten.work.staged.staging_pace import ANSWERS_DUE, ANSWERS_MAX, StagingPace
from batten.work.work_sizes import Pace


def run(rate: float, seconds: float, answers_meanwhile: int = 1) -> int:
    """The most that waited, where answers come at that rate and some more end while those that are
    due are put aside."""
    pace, most, left = StagingPace(), 0, 0
    for number in range(int(rate * seconds)):
        pace.take(number / rate)
        most = max(most, pace.waiting)
        left = left + 1 if pace.is_due else 0
        if left > answers_meanwhile:
            pace.put_aside(pace.waiting)
            left = 0
    return most


@pytest.mark.parametrize("rate", [5, 50, 500, 900])
def test_few_wait_where_they_come_slowly(rate: float) -> None:
    assert ANSWERS_DUE <= run(rate, 10, answers_meanwhile=3) <= ANSWERS_MAX


@pytest.mark.parametrize("ended", [0, 10, 50])
def test_no_call_begins_where_a_kill_would_cost_more_than_all_that_may_be_in_flight_and_ten(
    ended: int,
) -> None:
    """Of fifty calls so many ended at one moment. As many begin as are safe, and ten more."""
    pace, in_hand = StagingPace(), 50 - ended
    for _ in range(ended):
        pace.take(0.0)
    while in_hand < 50 and pace.has_room(in_hand, 50):
        in_hand += 1
    assert in_hand == min(50, 50 - ended + ANSWERS_MAX)
    pace.put_aside(ended)
    pace.is_aside(ended)
    assert pace.has_room(in_hand, 50)


def test_quick_calls_wait_for_no_room() -> None:
    pace = StagingPace()
    for _ in range(1000):
        pace.take(0.0)
    assert pace.has_room(50, 50)


def test_of_quick_calls_many_wait_for_the_half_second() -> None:
    assert run(5000, 3) > 1000


@pytest.mark.parametrize(("slots", "seconds"), [(2, 0.1), (4, 0.05), (8, 0.1), (16, 0.2)])
def test_slow_items_of_all_workers_together(slots: int, seconds: float) -> None:
    pace = Pace(slots=slots, items_left=10_000)
    pace.take(100, executed=100, seconds=100 * seconds)
    held = slots * (pace.items_a_task - 1)
    assert held <= ANSWERS_MAX


def test_quick_items_go_by_the_quarter_of_a_second() -> None:
    pace = Pace(slots=2, items_left=100_000)
    pace.take(100, executed=100, seconds=0.1)
    assert pace.items_a_task == 250
