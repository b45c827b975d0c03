"""Which points a sweep tries: faults at calls, each that may show something that no other shows.

    of_disk, full = partial(Fail, error=errno.EIO), partial(Fail, error=errno.ENOSPC)
    points = find_points(calls, [of_disk, AtEachPlace(full)], chooser)

A run does the same for each of its batches and items, to files that differ by their numbers alone.
Such calls are at one place. A kill is tried at each call, since each leaves another state. A
failure is tried once at each place for each place that the process came from (decision 0158).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from batten.crashlab.faults import Fail, Fault, KillAfter, KillBefore, Victims
from batten.crashlab.tracing.system_calls import TracedCall

MakeFault = Callable[[int], Fault]

_NUMBERS = re.compile(r"[0-9a-f]*\d[0-9a-f]*")


@dataclass(frozen=True)
class AtEachPlace:
    """Makes the failure once at each place, wherever the process came from. For failures that
    differ from one that is tried more often by their errno alone."""

    make: MakeFault

    def __call__(self, number: int) -> Fault:
        return self.make(number)


def find_points(
    calls: Sequence[TracedCall],
    faults: Sequence[MakeFault],
    chooser: Random,
    *,
    is_seen_whole: bool = False,
) -> list[Fault]:
    """The faults to try. Where all that is done is seen, of two kills that leave the same one is
    left out."""
    points = [
        make_fault(number)
        for make_fault in faults
        for number in _number_calls(calls, make_fault, chooser)
    ]
    return _without_repeated(points) if is_seen_whole else points


def _number_calls(
    calls: Sequence[TracedCall], make_fault: MakeFault, chooser: Random
) -> Iterator[int]:
    fault = make_fault(1)
    applying = [(call, came) for call, came in _tell_ways(calls) if fault.applies_to(call)]
    if not isinstance(fault, Fail):
        yield from range(1, len(applying) + 1)
        return
    alike: dict[object, list[int]] = {}
    for number, (call, came_from) in enumerate(applying, 1):
        place = _place_of(call)
        way = place if isinstance(make_fault, AtEachPlace) else (came_from, place)
        alike.setdefault(way, []).append(number)
    yield from map(chooser.choice, alike.values())


def _tell_ways(calls: Sequence[TracedCall]) -> Iterator[tuple[TracedCall, object]]:
    """Each call, and the place of the call before it by the same process."""
    last: dict[int, object] = {}
    for call in calls:
        yield call, last.get(call.process)
        last[call.process] = _place_of(call)


def _place_of(call: TracedCall) -> object:
    """What it does and to what, by which kind of process."""
    return call.process == 0, call.name, strip_numbers(call.path), strip_numbers(call.target)


@lru_cache(maxsize=4096)
def strip_numbers(name: str) -> str:
    """What the names of a run's batches, items and runs have in common."""
    return _NUMBERS.sub("#", name)


def _without_repeated(points: Sequence[Fault]) -> list[Fault]:
    afters = {
        (point.number, point.kinds, point.path)
        for point in points
        if isinstance(point, KillAfter) and point.victims is Victims.TREE
    }
    return [
        point
        for point in points
        if not isinstance(point, KillBefore)
        or point.victims is not Victims.TREE
        or (point.number - 1, point.kinds, point.path) not in afters
    ]
