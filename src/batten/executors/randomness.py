"""Workers do not share a state of random numbers.

A fork has its parent's state, and what a job seeds when it is loaded is the same in each fresh
interpreter. So each worker seeds, when it begins, the generators that the job can draw from
(decision 0060).
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from typing import Any

from batten.executors.generators import SEED_BITS, FoundGenerator, find_generators

_afresh: list[object] = []
"""The states to which this process has given numbers of its own. There are none if it is no worker.
"""


_before_fork: list[FoundGenerator] = []
"""Those of a process that forks workers: each of them has the same ones."""


def find_before_fork() -> None:
    """Look for the generators once for all workers that this process will fork."""
    _before_fork[:] = find_generators()


def seed_forked() -> None:
    """As `seed_afresh`, in a worker that has loaded nothing since it was forked."""
    _afresh.clear()
    _seed_afresh(_before_fork or find_generators())


def seed_afresh() -> None:
    """Give each generator numbers that no other process has: a worker does so when it begins."""
    _afresh.clear()
    _seed_afresh(find_generators())


def seed_held(functions: Iterable[Any]) -> None:
    """The same, in a worker, for what the functions hold that were not there when it began."""
    if not _afresh:
        return
    for function in functions:
        found = find_generators(function)
        _seed_afresh([each for each in found if not _is_among(each.state, _afresh)])


def _seed_afresh(found: Iterable[FoundGenerator]) -> None:
    for each in found:
        each.reseed(int.from_bytes(os.urandom(SEED_BITS // 8), "big"))
        if not _is_among(each.state, _afresh):
            _afresh.append(each.state)


def _is_among(state: object, states: Iterable[object]) -> bool:
    return any(state is each for each in states)


class Seeding:
    """Gives the generators of this process their numbers. These depend on `seed`, the item, the
    step, the call of its function for the item, and the generator's place. Each try of a call gets
    the same numbers."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.item = ""
        self._steps: list[StepSeeding] = []

    def of_step(self, number: int) -> StepSeeding:
        """Of one step of the pipeline, by its number there."""
        self._steps.append(StepSeeding(self, number))
        return self._steps[-1]

    def begin_item(self, name: object) -> None:
        self.item = str(name)
        for step in self._steps:
            step.calls = 0


class StepSeeding:
    """That of one step; `take_up` says which function it is of."""

    def __init__(self, seeding: Seeding, number: int) -> None:
        self.calls = 0
        self._seeding = seeding
        self._number = number
        self._function: Any = None
        self._modules = 0
        self._is_called = False
        self._found: list[FoundGenerator] = []
        self._generators: list[tuple[int, FoundGenerator]] = []

    def take_up(self, function: Any) -> None:
        self._function = function
        self._search()

    @property
    def named(self) -> tuple[str, int]:
        """The item, and the number of the call: what its numbers depend on."""
        return self._seeding.item, self.calls

    def name(self, item: str, calls: int) -> None:
        """As it is `named` where the item is in hand."""
        self._seeding.item, self.calls = item, calls

    def begin_call(self) -> None:
        self.calls += 1

    def begin_try(self) -> None:
        if self._modules != len(sys.modules):
            self._search()
        seeding = self._seeding
        number = _digest(f"{seeding.seed} {self._number} {self.calls} {seeding.item}")
        for offset, found in self._generators:
            found.reseed(number ^ offset)

    def has_new(self) -> bool:
        """Whether the try that ended has itself brought in a generator, as a first call may. Then
        its numbers were not the item's, and it is to be repeated."""
        if self._is_called and self._modules == len(sys.modules):
            return False
        self._is_called = True
        known = [each.state for each in self._found]
        self._search()
        return not all(_is_among(each.state, known) for each in self._found)

    def _search(self) -> None:
        self._modules = len(sys.modules)
        self._found = find_generators(self._function)
        self._generators = [(_digest(each.place), each) for each in self._found]


def _digest(text: str) -> int:
    data = text.encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=SEED_BITS // 8).digest(), "big")
