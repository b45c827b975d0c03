"""Which points a sweep tries: faults at calls, each that may show something that no other shows.

    of_disk, full = partial(Fail, error=errno.EIO), partial(Fail, error=errno.ENOSPC)
    points = find_points(calls, [of_disk, AtEachPlace(full)], chooser)

A run does the same for each of its batches and items, to files that differ by their numbers alone.
Such calls are at one place (decision 0158).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from batten.crashlab.faults import Fault, KillAfter, KillBefore, Victims
from batten.crashlab.tracing.system_calls import TracedCall

MakeFault = Callable[[int], Fault]

_NUMBERS = re.compile(r"[0-9a-f]*\d[0-9a-f]*")


@dataclass(frozen=True)
class AtEachPlace:
    """Makes the fault at one call of each place, which the seed chooses, rather than at each call.
    For faults of which another is tried at each call, and which differ from it by their errno."""

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
    applies_to = make_fault(1).applies_to
    numbered = enumerate((call for call in calls if applies_to(call)), 1)
    if not isinstance(make_fault, AtEachPlace):
        yield from (number for number, _ in numbered)
        return
    at_place: dict[object, list[int]] = {}
    for number, call in numbered:
        at_place.setdefault(_place_of(call), []).append(number)
    yield from map(chooser.choice, at_place.values())


def _place_of(call: TracedCall) -> object:
    """What it does and to what, by which kind of process."""
    return call.process == 0, call.name, strip_numbers(call.path), strip_numbers(call.target)


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
