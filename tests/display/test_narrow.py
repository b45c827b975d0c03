"""A narrow terminal keeps what matters most of the bar."""

from __future__ import annotations

from dataclasses import replace

import pytest

from batten.display.colours import join_spans
from batten.display.rate import ItemRate
from batten.model.rules.accounting import Accounts
from batten.run.progress import Status

STATUS = Status(
    source=100_000,
    committed=40_000,
    staged=100,
    quarantined=17,
    executed=30_000,
    adopted=10_000,
    seconds=60.0,
    waits=(),
    accounts=Accounts(
        source=100_000,
        pending=59_883,
        committed=40_000,
        filtered=0,
        quarantined=17,
        duplicate=0,
        staged=100,
    ),
)
WHOLE = "40,100/100,000 items  40%  500.0/s  1:00  ETA 1:59  17 quarantined  10,000 adopted"


def show(status: Status, columns: int) -> str:
    return join_spans(ItemRate().describe(status, columns), columns, coloured=False)


def test_where_there_is_room_all_is_told() -> None:
    assert show(STATUS, len(WHOLE)) == WHOLE


@pytest.mark.parametrize("columns", range(36, len(WHOLE)))
def test_what_failed_and_how_far_it_is_stay(columns: int) -> None:
    shown = show(STATUS, columns)
    assert len(shown) <= columns
    assert shown.startswith("40,100/100,000 items  ")
    assert "  17 quarantined" in shown
    assert "…" not in shown


def test_the_rate_goes_before_the_time_that_is_left() -> None:
    assert show(STATUS, 60) == "40,100/100,000 items  40%  1:00  ETA 1:59  17 quarantined"
    assert show(STATUS, 36) == "40,100/100,000 items  17 quarantined"


def test_a_run_that_stops_does_not_tell_when_all_will_be_done() -> None:
    stopping = replace(STATUS, is_stopping=True, waits=("stopping: 8 s for what is in hand",))
    told = "40,100/100,000 items  40%  500.0/s  1:00  17 quarantined  10,000 adopted  stopping: 8 s"
    assert show(stopping, 200) == f"{told} for what is in hand"


def test_what_it_waits_for_is_cut_and_takes_no_count_away() -> None:
    waiting = replace(STATUS, waits=("the server asks to be left alone for another minute",))
    shown = show(waiting, 80)
    assert "  17 quarantined  the server" in shown
    assert shown.endswith("…")
    assert len(shown) <= 80
