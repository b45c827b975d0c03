"""Whether failures are the job's: where all fail at first, or most of late, no item is to blame.

Items count in the order in which they end. One that was finished before there was a schema is
settled only when its batch is sealed: until then its rows may turn out not to fit. While an item
that failed is among those that decide, its batch is not published. So if the run is stopped, the
item is not quarantined, and the next run tries it again (decision 0056). Nothing here knows a clock
or a disk.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from itertools import islice

from batten.model.value_class import value_class
from batten.work.calling.calls import Failure

FIRST = 20
"""So many at first that all fail stop the run."""

LAST = 100
"""More than half of so many stop it later."""

HELD_MAX = 10_000
"""So many are remembered at most, however many of them may yet turn out to have failed."""

KIND_CHARACTERS_MAX = 80

Ended = tuple[tuple[int, str], ...]
"""Items in the order in which they ended: so many in a row, and how they failed, or ""."""


def tell_ended(items: Sequence[int], failures: Sequence[Failure]) -> Ended:
    """The items, by their number in the batch, as they ended; these of them failed."""
    if not failures:
        return ((len(items), ""),) if items else ()
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
    these the `batch` and the `failure` are known. `decided` of those that failed are quarantined
    whatever comes."""

    is_first: bool
    count: int
    failed: int
    commonest: int
    kind: str
    batch: int
    failure: Failure
    decided: int = 0


class Streak:
    """The items that ended last, in one run, which does `items` at most."""

    def __init__(self, *, is_watched: bool, items: int) -> None:
        self._is_watched = is_watched
        self._items = items
        self._last: deque[tuple[int, str, bool]] = deque()
        self._open: Counter[int] = Counter()
        self._settled = 0
        self._ended = 0
        self._failing: Counter[int] = Counter()
        self._examples: dict[str, tuple[int, Failure]] = {}
        self._told: Counter[int] = Counter()
        self._decided: set[int] = set()
        self.verdict: StreakVerdict | None = None

    def expect(self, items: int) -> None:
        """So many more are done in the run."""
        self._items += items

    def take(
        self, batch: int, ended: Ended, first: Failure | None, *, is_settled: bool = True
    ) -> None:
        """Items of a batch ended; `first` is a failure among them. Those that were finished may
        turn out to have failed, unless it `is_settled`. What comes after the verdict does not
        change it: what fails then is in doubt as well."""
        if not self._is_watched:
            return
        if self.verdict is not None:
            self._failing[batch] += sum(count for count, kind in ended if kind)
            return
        if first is not None:
            self._examples[name_kind(first)] = (batch, first)
        for count, kind in ended:
            self._told[batch] += count
            for _ in range(count if kind else min(count, LAST)):
                self._push(batch, kind, is_settled or bool(kind))
                if kind and self.verdict is None:
                    self.verdict = self._judge()
            self._ended += max(0, count - LAST) if not kind else 0

    def tell_anew(
        self, batch: int, ended: Ended, first: Failure | None, *, is_decided: bool = False
    ) -> None:
        """All items of a batch, since some turned out to have failed that were told of as finished:
        what was told of them before counts no more. `is_decided`: these failures are quarantined,
        also where the run is stopped."""
        if not self._is_watched:
            return
        if is_decided:
            self._decided.add(batch)
        if self.verdict is not None:
            self.take(batch, ended, first)
            return
        kept = deque(each for each in self._last if each[0] != batch)
        self._ended -= self._told.pop(batch, len(self._last) - len(kept))
        self._last = kept
        self._settled = sum(is_settled for _, _, is_settled in kept)
        self._failing.pop(batch, None)
        self._open.pop(batch, None)
        self.take(batch, ended, first)

    def settle(self, batch: int) -> None:
        """The outcomes of its items are final, as they were told."""
        self._told.pop(batch, None)
        if count := self._open.pop(batch, 0):
            self._last = deque(
                (each, kind, is_settled or each == batch) for each, kind, is_settled in self._last
            )
            self._settled += count
            self._forget()

    def allow(self, slots: int) -> int | None:
        """How many items may fail in a piece of work before it is to end, with so many at a time:
        so that few are begun after those that decide. None if nothing is watched."""
        if not self._is_watched:
            return None
        return max(1, (FIRST - self._ended) // slots) if self.is_failing else LAST // 2 + 1

    @property
    def is_failing(self) -> bool:
        """Whether no item was finished yet, and further failures stop the run."""
        failed = self._failing.total()
        return self._is_watched and failed == self._ended < FIRST <= self._items

    def is_doubtful(self, batch: int) -> bool:
        """Whether an item of the batch failed that may be a part of what stops the run."""
        return self._failing[batch] > 0 and batch not in self._decided and self._may_stop()

    def _may_stop(self) -> bool:
        """Whether the run is stopped, or would be if all failed that is left or not settled."""
        if self.verdict is not None:
            return True
        failed = self._failing.total()
        left = self._items - self._ended + self._open.total()
        by_first = failed == self._ended < FIRST <= self._items
        by_last = self._items >= LAST and 2 * (failed + left) > LAST
        return by_first or by_last

    def _push(self, batch: int, kind: str, is_settled: bool) -> None:
        self._ended += 1
        self._last.append((batch, kind, is_settled))
        self._settled += is_settled
        if kind:
            self._failing[batch] += 1
        if not is_settled:
            self._open[batch] += 1
        self._forget()

    def _forget(self) -> None:
        """What so many settled ones came after decides no more, unless most of these failed: then
        those among them that may yet turn out to have failed are all that puts off the verdict."""
        while len(self._last) > HELD_MAX or (
            self._settled > LAST and not self._most_settled_fail()
        ):
            batch, kind, is_settled = self._last.popleft()
            self._settled -= is_settled
            if kind:
                _take_one(self._failing, batch)
            if not is_settled:
                _take_one(self._open, batch)

    def _most_settled_fail(self) -> bool:
        if 2 * self._failing.total() <= LAST:
            return False
        settled = (kind for _, kind, is_settled in reversed(self._last) if is_settled)
        return 2 * sum(map(bool, islice(settled, LAST))) > LAST

    def _judge(self) -> StreakVerdict | None:
        last = list(islice(reversed(self._last), LAST))
        kinds = Counter(kind for _, kind, _ in last if kind)
        failed = kinds.total()
        is_first = self._ended == FIRST and failed == FIRST
        if not is_first and not (len(last) == LAST and 2 * failed > LAST):
            return None
        kind, commonest = kinds.most_common(1)[0]
        if kind not in self._examples:
            kind = next(each for each, _ in kinds.most_common() if each in self._examples)
            commonest = kinds[kind]
        batch, failure = self._examples[kind]
        return StreakVerdict(
            is_first=is_first,
            count=len(last),
            failed=failed,
            commonest=commonest,
            kind=kind,
            batch=batch,
            failure=failure,
            decided=sum(bool(how) and each in self._decided for each, how, _ in last),
        )


def _take_one(counts: Counter[int], batch: int) -> None:
    counts[batch] -= 1
    if not counts[batch]:
        del counts[batch]
