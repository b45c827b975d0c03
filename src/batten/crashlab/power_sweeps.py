"""A run on a storage in memory, the power cut before any of its steps, and what must hold then.

    swept = sweep_power(LAYOUT, act, see, before=earlier)
    for found in swept.choose(seeded, sample=10):      # None: every state that may be found
        swept.check(found)

A reader finds what there was before or what there is after. The same run then ends as if nothing
had been.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

from batten.crashlab.power import (
    Cut,
    MetStates,
    StateAfterCut,
    find_states,
    record_cuts,
    sample_states,
)
from batten.crashlab.promises import UNHARMED, raise_first
from batten.inspect.verifying.verify import find_faults
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import judge
from batten.model.disk.names import Layout
from batten.model.rules.findings import Code
from batten.model.value_class import value_class
from batten.model.words import State
from batten.storage.twin.memory import MemoryStorage

Act = Callable[[MemoryStorage], object]
Seen = Mapping[str, bytes | None]
See = Callable[[MemoryStorage], Seen]


@value_class
class PowerSweep:
    """`act` is what is done after a cut; `old` and `new` are what a reader sees before and after.

    With `is_at_once` all of it changes at once. `left` tells what should not be there any more,
    and `tolerated` are findings that mean no harm.
    """

    layout: Layout
    act: Act
    see: See
    old: Seen
    new: Seen
    cuts: Sequence[Cut]
    is_at_once: bool
    left: Callable[[MemoryStorage], Sequence[str]]
    tolerated: frozenset[Code]
    met: MetStates
    """The ends that were judged already."""

    def choose(self, seeded: Random, sample: int | None) -> Iterator[StateAfterCut]:
        """So many states by chance, or all."""
        if sample is None:
            return find_states(self.cuts, self.layout, seeded)
        return sample_states(self.cuts, seeded, sample)

    def check(self, found: StateAfterCut) -> None:
        raise_first(f"{found.how}: {told}" for told in self._find_broken(found.storage))
        self.act(found.storage)
        if self.met.is_new(found.storage):
            raise_first(f"{found.how}: {told}" for told in self._find_undone(found.storage))

    def check_undisturbed(self) -> None:
        """The same run once more, after the last cut."""
        last = self.cuts[-1]
        self.check(StateAfterCut(how="the end", committed=frozenset(), storage=last.storage))

    def _find_broken(self, storage: MemoryStorage) -> Iterator[str]:
        seen = self.see(storage)
        is_whole = seen in (self.old, self.new)
        for is_thorough in (False, True):
            judgement = judge(observe_output(storage, self.layout, is_thorough=is_thorough))
            if judgement.verdict.state not in UNHARMED:
                yield f"{judgement}"
            if not is_whole and (self.is_at_once or judgement.verdict.state is State.COMPLETE):
                yield f"{sorted(seen)} are neither those of before nor those of after"
        for name, data in seen.items():
            if data not in (self.old.get(name), self.new.get(name)):
                yield f"{name} is neither the old nor the new one"

    def _find_undone(self, storage: MemoryStorage) -> Iterator[str]:
        if self.see(storage) != self.new:
            yield "it is not what an undisturbed run makes"
        observation = observe_output(storage, self.layout, is_thorough=True)
        judgement = judge(observation)
        if judgement.verdict.state is not State.COMPLETE:
            yield f"{judgement}"
        for fault in find_faults(storage, observation, judgement):
            if fault.code not in self.tolerated:
                yield f"{fault}"
        left = self.left(storage)
        if left:
            yield f"{left} were left"


def sweep_power(
    layout: Layout,
    act: Act,
    see: See,
    *,
    before: Act | None = None,
    again: Act | None = None,
    is_at_once: bool = False,
    left: Callable[[MemoryStorage], Sequence[str]] = lambda storage: (),
    tolerated: frozenset[Code] = frozenset({Code.DAMAGED_LOG}),
) -> PowerSweep:
    """Do `before`, then `act` with a cut before each step; after a cut, `again` is done."""
    storage = MemoryStorage()
    if before is not None:
        before(storage)
    old = see(storage)
    cuts = record_cuts(storage, act, layout)
    return PowerSweep(
        layout=layout,
        act=again or act,
        see=see,
        old=old,
        new=see(storage),
        cuts=cuts,
        is_at_once=is_at_once,
        left=left,
        tolerated=tolerated,
        met=MetStates(layout, with_throwaway=True),
    )
