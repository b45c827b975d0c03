"""Which failures are the job's: counted in the order in which items end. No run, no clock."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import islice

import pytest

from batten.work.calling.calls import Failure
from batten.work.calling.most_fail import FIRST, LAST, Ended, Streak, tell_ended


def fail(item: int, error: str = "ValueError: no") -> Failure:
    return Failure(item=item, error=error, trace="", attempts=1)


def stops_after(outcomes: Sequence[bool], cuts: Sequence[int] = (1,)) -> int | None:
    """After how many items that ended so (True: it failed) the run stops; they are told of in
    pieces of these sizes."""
    streak, start, number = Streak(is_watched=True, items=1000), 0, 0
    while start < len(outcomes):
        stop = min(len(outcomes), start + cuts[number % len(cuts)])
        failures = [fail(item) for item in range(start, stop) if outcomes[item]]
        ended = tell_ended(range(start, stop), failures)
        streak.take(start // 10, ended, failures[0] if failures else None)
        if streak.verdict is not None:
            return stop
        start, number = stop, number + 1
    return None


def expected(outcomes: Sequence[bool]) -> int | None:
    """The rule, said once more and slowly."""
    for count in range(1, len(outcomes) + 1):
        if count == FIRST and all(outcomes[:count]):
            return count
        if count >= LAST and 2 * sum(outcomes[count - LAST : count]) > LAST and outcomes[count - 1]:
            return count
    return None


@pytest.mark.parametrize(
    ("outcomes", "count"),
    [
        ([True] * 19, None),
        ([True] * 20, 20),
        ([True] * 19 + [False] + [True] * 79, None),
        ([True] * 19 + [False] + [True] * 80, 100),
        ([False] + [True] * 98, None),
        ([False] + [True] * 99, 100),
        ([False, True] * 500, None),
        ([False] * 1000 + [True] * 50, None),
        ([False] * 1000 + [True] * 51, 1051),
    ],
)
def test_when_it_stops(outcomes: list[bool], count: int | None) -> None:
    assert stops_after(outcomes) == count == expected(outcomes)


def test_however_it_is_told(seeded: random.Random) -> None:
    """The same verdict, at the end of the piece in which it falls."""
    for _ in range(200):
        share = seeded.choice([0.3, 0.5, 0.55, 1.0])
        outcomes = [seeded.random() < share for _ in range(seeded.randrange(400))]
        size = seeded.choice([1, 3, 50, 1000])
        wanted = expected(outcomes)
        count = stops_after(outcomes, [size])
        if wanted is None:
            assert count is None
        else:
            assert count == min(len(outcomes), -(-wanted // size) * size)


def test_what_is_told_of_a_piece() -> None:
    failures = [fail(3, "KeyError: 1"), fail(4, "KeyError: 2"), fail(6, "no colon")]
    assert tell_ended(range(2, 8), failures) == (
        (1, ""),
        (2, "KeyError"),
        (1, ""),
        (1, "no colon"),
        (1, ""),
    )
    assert tell_ended([6, 2, 3], failures) == ((1, "no colon"), (1, ""), (1, "KeyError"))
    assert tell_ended(range(5, 5), []) == ()
    assert tell_ended(range(7, 2000), []) == ((1993, ""),)


def test_a_batch_is_in_doubt_while_its_failure_counts() -> None:
    streak = Streak(is_watched=True, items=1000)
    streak.take(0, ((1, ""), (1, "KeyError")), fail(1, "KeyError: 1"))
    assert (streak.is_doubtful(0), streak.is_doubtful(1)) == (True, False)
    streak.take(1, ((LAST - 1, ""),), None)
    assert streak.is_doubtful(0)
    streak.take(2, ((1, ""),), None)
    assert not streak.is_doubtful(0)


def test_a_long_piece_without_failures_clears_all_doubt() -> None:
    streak = Streak(is_watched=True, items=1000)
    streak.take(0, ((19, "KeyError"),), fail(1, "KeyError: 1"))
    streak.take(1, ((100_000, ""),), None)
    assert not streak.is_doubtful(0)
    streak.take(2, ((50, "KeyError"),), fail(1, "KeyError: 1"))
    assert streak.verdict is None


def test_the_commonest_cause_is_told_with_an_example() -> None:
    streak = Streak(is_watched=True, items=1000)
    streak.take(4, ((6, "KeyError"),), fail(1, "KeyError: 1"))
    streak.take(5, ((14, "HTTPStatusError"),), fail(7, "HTTPStatusError: 401"))
    verdict = streak.verdict
    assert verdict is not None
    assert (verdict.is_first, verdict.count, verdict.failed) == (True, 20, 20)
    assert (verdict.commonest, verdict.batch, verdict.failure.item) == (14, 5, 7)


def test_a_cause_that_was_never_the_first_of_its_piece_has_no_example() -> None:
    streak = Streak(is_watched=True, items=1000)
    streak.take(4, ((1, "KeyError"), (19, "HTTPStatusError")), fail(1, "KeyError: 1"))
    assert streak.verdict is not None
    assert (streak.verdict.commonest, streak.verdict.kind) == (1, "KeyError")


def test_nothing_is_counted_where_it_is_turned_off() -> None:
    streak = Streak(is_watched=False, items=1000)
    streak.take(0, ((1000, "KeyError"),), fail(1, "KeyError: 1"))
    assert streak.verdict is None
    assert not streak.is_doubtful(0)


@pytest.mark.parametrize(
    ("items", "ended", "is_held"),
    [(24, 0, True), (24, 1, False), (19, 0, False), (99, 5, False), (100, 5, True)],
)
def test_a_batch_is_held_back_only_while_the_run_could_be_stopped(
    items: int, ended: int, is_held: bool
) -> None:
    streak = Streak(is_watched=True, items=items)
    failures = [Failure(item=ended, error="ValueError: x", trace="", attempts=1)]
    streak.take(0, tell_ended(range(ended + 1), failures), failures[0])
    assert streak.is_doubtful(0) is is_held


UNFIT = Failure(item=0, error="the row does not fit: x", trace="", attempts=1)
UNFIT_KIND = "the row does not fit"


def test_what_is_told_anew_takes_the_place_of_what_was_told() -> None:
    """A hundred items of four batches were finished, it seemed."""
    streak = Streak(is_watched=True, items=1000)
    for batch in range(4):
        streak.take(batch, ((25, ""),), None, is_settled=False)
    for batch in range(2):
        streak.tell_anew(batch, ((25, UNFIT_KIND),), UNFIT)
        streak.settle(batch)
        assert streak.verdict is None
    streak.tell_anew(2, ((24, ""), (1, UNFIT_KIND)), UNFIT)
    assert streak.verdict is not None
    assert (streak.verdict.count, streak.verdict.failed, streak.verdict.decided) == (100, 51, 0)


def test_half_of_what_is_told_anew_may_have_failed() -> None:
    """Whatever lies between: each item counts once, in the order of the plan."""
    streak = Streak(is_watched=True, items=10_000)
    halves = ((1, ""), (1, UNFIT_KIND)) * 100
    for batch in range(5):
        streak.take(batch, ((200, ""),), None, is_settled=False)
        streak.tell_anew(batch, halves, UNFIT)
    assert streak.verdict is None


def test_what_was_told_before_is_gone() -> None:
    """Sixty items are no hundred, however often they are told of."""
    streak = Streak(is_watched=True, items=1000)
    streak.take(0, ((60, ""),), None, is_settled=False)
    streak.tell_anew(0, ((1, ""), (59, UNFIT_KIND)), UNFIT)
    assert streak.verdict is None


def test_the_first_ones_are_counted_once() -> None:
    streak = Streak(is_watched=True, items=1000)
    streak.take(0, ((19, ""),), None, is_settled=False)
    streak.tell_anew(0, ((19, UNFIT_KIND),), UNFIT)
    assert streak.verdict is None
    streak.take(1, ((1, UNFIT_KIND),), UNFIT)
    assert streak.verdict is not None
    assert streak.verdict.is_first


def test_what_is_not_settled_clears_no_doubt() -> None:
    streak = Streak(is_watched=True, items=300)
    streak.take(0, ((1, "KeyError"),), fail(1, "KeyError: 1"))
    for batch in range(1, 30):
        streak.take(batch, ((10, ""),), None, is_settled=False)
    assert streak.is_doubtful(0)
    for batch in range(1, 10):
        streak.settle(batch)
    assert streak.is_doubtful(0)
    streak.settle(10)
    assert not streak.is_doubtful(0)


def test_what_a_destination_rejects_counts_and_is_not_held_back() -> None:
    streak = Streak(is_watched=True, items=1000)
    for batch in range(6):
        streak.take(batch, ((10, ""),), None)
        streak.settle(batch)
        assert streak.verdict is None
        streak.tell_anew(batch, ((10, UNFIT_KIND),), UNFIT, is_decided=True)
        assert not streak.is_doubtful(batch)
        if streak.verdict is not None:
            break
    assert streak.verdict is not None
    assert (batch, streak.verdict.decided, streak.verdict.is_first) == (1, 20, True)


def test_after_the_verdict_all_that_it_counted_is_in_doubt() -> None:
    streak = Streak(is_watched=True, items=100)
    streak.take(0, ((49, ""), (1, "KeyError")), fail(1, "KeyError: 1"))
    streak.take(1, ((50, "KeyError"),), fail(1, "KeyError: 1"))
    assert streak.verdict is not None
    assert streak.is_doubtful(0)
    assert streak.is_doubtful(1)


def test_what_is_not_settled_hides_no_failure_of_a_sealed_batch() -> None:
    """Two batches are told of as finished while one is sealed, in which all turn out to have
    failed. So there are more finished ones than failures until the last batches are sealed."""
    streak = Streak(is_watched=True, items=300)
    told = iter(range(30))
    for sealed in range(30):
        for batch in islice(told, 2):
            streak.take(batch, ((10, ""),), None, is_settled=False)
        streak.tell_anew(sealed, ((10, UNFIT_KIND),), UNFIT)
        streak.settle(sealed)
        assert streak.is_doubtful(0), sealed
    assert streak.verdict is not None


def test_after_the_verdict_what_fails_is_in_doubt() -> None:
    """Two workers seal: the first batch after those that decided, perhaps."""
    streak = Streak(is_watched=True, items=100)
    for batch in (2, 1):
        streak.take(batch, ((50, ""),), None, is_settled=False)
        streak.tell_anew(batch, ((50, UNFIT_KIND),), UNFIT)
    assert streak.verdict is not None
    verdict = streak.verdict
    streak.tell_anew(0, ((10, UNFIT_KIND),), UNFIT)
    streak.take(3, ((10, "KeyError"),), fail(1, "KeyError: 1"))
    streak.take(4, ((10, ""),), None)
    streak.tell_anew(5, ((10, UNFIT_KIND),), UNFIT, is_decided=True)
    assert [streak.is_doubtful(batch) for batch in (0, 3, 4, 5)] == [True, True, False, False]
    assert streak.verdict is verdict


@pytest.mark.parametrize(
    ("ended", "slots", "allowed"),
    [
        ((), 1, 20),
        ((), 4, 5),
        ((), 100, 1),
        (((12, "KeyError"),), 4, 2),
        (((1, ""),), 4, 51),
        (((1, ""), (60, "KeyError")), 4, 51),
    ],
)
def test_how_many_may_fail_in_a_piece(ended: Ended, slots: int, allowed: int) -> None:
    streak = Streak(is_watched=True, items=1000)
    streak.take(0, ended, fail(1, "KeyError: 1"))
    assert streak.allow(slots) == allowed
    assert streak.is_failing is (allowed < 51)
    assert Streak(is_watched=False, items=1000).allow(slots) is None
