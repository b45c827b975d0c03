"""Which faults a sweep tries at which calls."""

from __future__ import annotations

import errno
from functools import partial
from random import Random

from batten.crashlab.faults import Fail, KillAfter, KillBefore
from batten.crashlab.points import AtEachPlace, find_points
from batten.crashlab.tracing.system_calls import CallKind, TracedCall

FULL = partial(Fail, error=errno.ENOSPC)


def made(*given: tuple[str, CallKind, str] | tuple[str, CallKind, str, int]) -> list[TracedCall]:
    """Calls of such names, kinds and paths, by the driver where no process is told."""
    return [
        TracedCall(number=number, process=[*rest, 0][0], name=name, kind=kind, path=path)
        for number, (name, kind, path, *rest) in enumerate(given, 1)
    ]


CALLS = made(
    ("openat", CallKind.OPEN_TO_WRITE, "/w/point-00017/out.batten/staging/000000-3fa9"),
    ("write", CallKind.WRITE, "/w/point-00017/out.batten/staging/000000-3fa9"),
    ("write", CallKind.WRITE, "/w/point-00017/out.batten/staging/000001-7c00"),
    ("write", CallKind.WRITE, "/w/point-00017/out.batten/runs/20261130T181500Z-00ff.jsonl"),
    ("write", CallKind.WRITE, "/w/point-00017/out.batten/staging/000002-44ab", 3),
    ("write", CallKind.WRITE, "/w/point-00017/out.batten/staging/000003-44ab", 2),
    ("fsync", CallKind.SYNC, "/w/point-00017/out.batten/staging/000001-7c00"),
)


def test_a_kill_is_tried_at_each_call() -> None:
    points = find_points(CALLS, [KillAfter], Random(1))
    assert points == [KillAfter(number) for number in range(1, 8)]


def test_a_failure_is_tried_once_at_each_place_for_each_way_to_it() -> None:
    """The third and the ninth call both write after a write, the eighth after a sync. The fifth
    and the sixth are the first of two workers."""
    calls = [*CALLS, *CALLS[1:3]]
    found = [find_points(calls, [FULL], Random(seed)) for seed in range(20)]
    chosen = [[point.number for point in points] for points in found]
    assert {len(each) for each in chosen} == {7}
    assert {number for each in chosen for number in each} == set(range(1, 10))
    for alike in ({3, 9}, {5, 6}):
        assert {len(alike.intersection(each)) for each in chosen} == {1}


def test_one_that_differs_by_its_errno_is_tried_once_at_each_place() -> None:
    """Which is chosen by the seed, and each may be."""
    chosen = [
        [point.number for point in find_points(CALLS, [AtEachPlace(FULL)], Random(seed))]
        for seed in range(20)
    ]
    assert {first for first, *_ in chosen} == {1}
    assert {second for _, second, *_ in chosen} == {2, 3}
    assert {third for _, _, third, *_ in chosen} == {4}
    assert {fourth for _, _, _, fourth, *_ in chosen} == {5, 6}
    assert {tuple(rest) for _, _, _, _, *rest in chosen} == {(7,)}


def test_only_calls_that_it_applies_to_are_counted() -> None:
    writing = partial(Fail, error=errno.EIO, kinds=frozenset({CallKind.WRITE}))
    points = find_points(CALLS, [AtEachPlace(writing)], Random(1))
    assert [point.number for point in points][1:2] == [3]
    assert [point.applies_to(CALLS[0]) for point in points] == [False] * 3


def test_of_two_kills_that_leave_the_same_one_is_left_out() -> None:
    calls = CALLS[:2]
    every = find_points(calls, [KillBefore, KillAfter], Random(1))
    assert every == [KillBefore(1), KillBefore(2), KillAfter(1), KillAfter(2)]
    seen = find_points(calls, [KillBefore, KillAfter], Random(1), is_seen_whole=True)
    assert seen == [KillBefore(1), KillAfter(1), KillAfter(2)]
