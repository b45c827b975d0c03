"""What published batches say of themselves: held one by one, or as sums of a thousand.

Where a roll-up has a sum that fits the parts, the plan and the quarantine files, nothing is to be
told of one of its batches. Then only the sum is held. What a single batch says is read when it is
asked for (decision 0163).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import lru_cache
from typing import Any

from batten.ledger.facts.batches.rolled_sums import count_of_sum
from batten.model.disk.published import Published
from batten.model.disk.rolled import RolledUp, number_of, span_of
from batten.model.rules.accounting import OutcomeCounts, add_counts, sum_outcomes, tally_outcomes
from batten.model.words import Outcome

Load = Callable[[int], Mapping[int, Published]]
_THOUSANDS_HELD = 4


class Claims(Mapping[int, Published]):
    """By batch. `single` are those that are held one by one, `sums` those of roll-ups, by their
    numbers. Asking for a batch of these reads what its thousand says, and may raise
    `StorageError`."""

    def __init__(
        self,
        single: Mapping[int, Published] | None = None,
        sums: Mapping[int, RolledUp] | None = None,
        load: Load | None = None,
    ) -> None:
        self.single: Mapping[int, Published] = single or {}
        self.sums: Mapping[int, RolledUp] = sums or {}
        self._load = lru_cache(maxsize=_THOUSANDS_HELD)(load) if load is not None else None

    def __getitem__(self, batch: int) -> Published:
        if batch not in self.single and self._load is not None and self._is_summed(batch):
            return self._load(number_of(batch))[batch]
        return self.single[batch]

    def __contains__(self, batch: object) -> bool:
        return batch in self.single or self._is_summed(batch)

    def __iter__(self) -> Iterator[int]:
        for number in sorted(self.sums):
            yield from span_of(number)
        yield from self.single

    def __len__(self) -> int:
        return len(self.single) + sum(end.batches for end in self.sums.values())

    def _is_summed(self, batch: object) -> bool:
        return isinstance(batch, int) and number_of(batch) in self.sums

    @property
    def rows(self) -> int:
        """Of those that are summed."""
        return sum(end.rows for end in self.sums.values())

    def count_summed(self) -> OutcomeCounts:
        """The items of those that are summed, by outcome."""
        return add_counts(map(count_of_sum, self.sums.values()))

    def count_all(self) -> OutcomeCounts:
        """The items of all batches, by outcome."""
        single = sum_outcomes(claim.outcomes for claim in self.single.values())
        return add_counts([self.count_summed(), single])

    def list_failed(self) -> set[int]:
        """The batches of which items are quarantined."""
        failed = {
            batch
            for batch, claim in self.single.items()
            if tally_outcomes(claim.outcomes).quarantined
        }
        return failed.union(self.list_failed_of_sums())

    def list_failed_of_sums(self) -> dict[int, str]:
        """The digests of the parts of which items are quarantined, of batches that are summed."""
        ends = (end.failed_batches for end in self.sums.values() if end.failed)
        return {batch: digest for each in ends for batch, digest in each.items()}

    def find_removed(self) -> Iterator[int]:
        """The batches of which items are gone with their rows."""
        for number, end in self.sums.items():
            if end.removed:
                yield from (each for each in span_of(number) if _has_removed(self[each]))
        yield from (batch for batch, claim in self.single.items() if _has_removed(claim))


def list_unsummed(batches: Iterable[int], sums: Mapping[int, RolledUp]) -> Iterator[int]:
    """Those of the batches that are not of these thousands."""
    return (batch for batch in batches if number_of(batch) not in sums) if sums else iter(batches)


def _has_removed(claim: Published) -> bool:
    return Outcome.REMOVED.value in claim.outcomes


class Recorded(Set[int]):
    """The batches that have a record: `single` ones, and all of these roll-ups."""

    def __init__(
        self, single: frozenset[int] = frozenset(), sums: Mapping[int, RolledUp] | None = None
    ) -> None:
        self.single = single
        self._sums: Mapping[int, RolledUp] = sums or {}

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> Any:
        return frozenset(it)

    def __contains__(self, batch: object) -> bool:
        return batch in self.single or (isinstance(batch, int) and number_of(batch) in self._sums)

    def __iter__(self) -> Iterator[int]:
        for number in sorted(self._sums):
            yield from span_of(number)
        yield from self.single

    def __len__(self) -> int:
        return len(self.single) + sum(end.batches for end in self._sums.values())
