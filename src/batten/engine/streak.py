"""Whether failures are the job's: where all fail at first, or most of late, no item is to blame.

Items count in the order in which they end. While one that failed is among those that decide, its
batch is not published: should the run be stopped, the item is no quarantined one but is tried
again by the next run. Nothing here knows a clock or a disk.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from batten.engine.calls import Failure
from batten.model.value_class import value_class

FIRST = 20
"""So many at first that all fail stop the run."""

LAST = 100
"""More than half of so many stop it later."""

KIND_CHARACTERS_MAX = 80

Ended = tuple[tuple[int, str], ...]
"""Items in the order in which they ended: so many in a row, and how they failed, or ""."""


def tell_ended(items: Iterable[int], failures: Sequence[Failure]) -> Ended:
    """The items, by their number in the batch, as they ended; these of them failed."""
    if not failures:
        count = sum(1 for _ in items)
        return ((count, ""),) if count else ()
    kinds = {failure.item: name_kind(failure) for failure in failures}
    runs: list[tuple[int, str]] = []
    for item in items:
        kind = kinds.get(item, "")
        count = runs.pop()[0] if runs and runs[-1][1] == kind else 0
        runs.append((count + 1, kind))
    return tuple(runs)


def name_kind(failure: Failure) -> str:
    """What failures of one cause have in common: the class of the exception, mostly."""
    return failure.error.partition(":")[0][:KIND_CHARACTERS_MAX] or "an error"


@value_class
class StreakVerdict:
    """`failed` of `count` items did, `commonest` of them by an error of that `kind`; of one of
    these the `batch` and the `failure` are known."""

    is_first: bool
    count: int
    failed: int
    commonest: int
    kind: str
    batch: int
    failure: Failure


class Streak:
    """The items that ended last, in one run, which does `items` at most."""

    def __init__(self, *, is_watched: bool, items: int) -> None:
        self._is_watched = is_watched
        self._items = items
        self._last: deque[tuple[int, str]] = deque()
        self._ended = 0
        self._failing: Counter[int] = Counter()
        self._examples: dict[str, tuple[int, Failure]] = {}
        self.verdict: StreakVerdict | None = None

    def take(self, batch: int, ended: Ended, first: Failure | None) -> None:
        """Items of a batch ended; `first` is a failure among them. What comes after the verdict
        changes nothing."""
        if not self._is_watched or self.verdict is not None:
            return
        if first is not None:
            self._examples[name_kind(first)] = (batch, first)
        for count, kind in ended:
            for _ in range(count if kind else min(count, LAST)):
                self._push(batch, kind)
                if kind and self.verdict is None:
                    self.verdict = self._judge()
            self._ended += max(0, count - LAST) if not kind else 0

    def is_doubtful(self, batch: int) -> bool:
        """Whether an item of the batch failed that may be a part of what stops the run."""
        return batch in self._failing and self._may_stop()

    def _may_stop(self) -> bool:
        """Whether the run would be stopped, if all that is left failed."""
        failed, left = self._failing.total(), self._items - self._ended
        by_first = failed == self._ended < FIRST <= self._items
        by_last = self._items >= LAST and 2 * (failed + left) > LAST
        return by_first or by_last

    def _push(self, batch: int, kind: str) -> None:
        self._ended += 1
        self._last.append((batch, kind))
        if kind:
            self._failing[batch] += 1
        if len(self._last) > LAST:
            earlier, how = self._last.popleft()
            if how:
                self._failing[earlier] -= 1
                if not self._failing[earlier]:
                    del self._failing[earlier]

    def _judge(self) -> StreakVerdict | None:
        kinds = Counter(kind for _, kind in self._last if kind)
        failed = kinds.total()
        is_first = self._ended == FIRST and failed == FIRST
        if not is_first and not (len(self._last) == LAST and 2 * failed > LAST):
            return None
        kind, commonest = kinds.most_common(1)[0]
        if kind not in self._examples:
            kind = next(each for each, _ in kinds.most_common() if each in self._examples)
            commonest = kinds[kind]
        batch, failure = self._examples[kind]
        return StreakVerdict(
            is_first=is_first,
            count=len(self._last),
            failed=failed,
            commonest=commonest,
            kind=kind,
            batch=batch,
            failure=failure,
        )
