"""A run at work, seen from outside: how fast it is, what it has in hand, what has failed.

Everything is read from disk, as `show` does, and the run knows nothing of it. Since when an item is
in hand is known from the first look that saw it; before that look, it may have been so longer.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from batten.errors import StorageError
from batten.inspect.advising.in_hand import list_live_keys
from batten.inspect.items.failure_kinds import name_kind
from batten.inspect.items.plan_keys import PlanKeys
from batten.inspect.paths.output_path import locate_output
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.ledger.files.chunk_failures import read_chunk_failures
from batten.ledger.files.quarantine_file import read_quarantine
from batten.ledger.generations import find_current
from batten.ledger.history.runs import find_signal
from batten.ledger.judge import Judgement, judge
from batten.model.disk.names import Layout
from batten.model.disk.runs.holders import Holder
from batten.model.disk.staged_names import StagedFile, find_staged
from batten.model.rules.accounting import Accounts, PlannedBatches
from batten.model.value_class import value_class
from batten.model.words import State
from batten.storage.relative import last_piece

Failed = tuple[str, str]
"""A key and its error."""

RATE_SECONDS = 30.0
"""The rate is that of so long a time."""


@value_class
class InHand:
    """An item in hand, for so many seconds; or, if it was so at the first look, for longer."""

    key: str
    seconds: float
    is_longer: bool


@value_class
class FailureKind:
    """Quarantined items that failed alike: how many, and one of them with its error."""

    kind: str
    count: int
    key: str
    error: str


@value_class
class Sight:
    """What one look saw. `rate`: items a second of late, None while that is not known. `since`:
    when the run began, by the text of its lock. `signal`: the one that asked it to stop."""

    path: str
    state: State
    items: Accounts
    rows: int
    since: str
    rate: float | None
    in_hand: tuple[InHand, ...]
    failures: tuple[FailureKind, ...]
    signal: str = ""

    @property
    def failed_unpublished(self) -> int:
        """How many items failed for good in batches that are not published yet. The accounts have
        them among the staged ones until then."""
        return max(0, sum(each.count for each in self.failures) - self.items.quarantined)

    @property
    def finished(self) -> int:
        """How many items need not be done any more."""
        return self.items.source - self.items.pending

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "state": self.state.value,
            "path": self.path,
            "items": dict(vars(self.items)),
            "rows": self.rows,
            "since": self.since or None,
            "rate": self.rate,
            "in_hand": [dict(vars(each)) for each in self.in_hand],
            "failures": [dict(vars(each)) for each in self.failures],
            "signal": self.signal or None,
        }


class Watcher:
    """Looks at one output again and again. Reads only, and takes no lock."""

    def __init__(self, path: str | os.PathLike[str], *, with_failures: bool = True) -> None:
        self._place = locate_output(path)
        self._with_failures = with_failures
        self._seen: dict[str, float] = {}
        self._first_look: float | None = None
        self._finished: deque[tuple[float, int]] = deque()
        self._failed: dict[str, list[Failed]] = {}
        self._keys: tuple[int, PlanKeys] | None = None

    def look(self, now_seconds: float) -> Sight:
        """What is there now; `now_seconds` are of a clock that never goes back."""
        self._follow()
        place = self._place
        observation = observe_output(place.storage, place.layout)
        judgement = judge(observation)
        holder, accounts = observation.holder, judgement.accounts
        finished = accounts.source - accounts.pending
        return Sight(
            path=place.path,
            state=judgement.verdict.state,
            items=accounts,
            rows=judgement.rows,
            since=holder.since if holder is not None else "",
            rate=self._measure(now_seconds, finished),
            in_hand=self._list_in_hand(now_seconds, judgement),
            failures=_group(self._list_failed(observation, judgement.plan))
            if self._with_failures
            else (),
            signal=self._find_signal(holder) if holder is not None else "",
        )

    def _find_signal(self, holder: Holder) -> str:
        with suppress(StorageError):
            return find_signal(self._place.storage, self._place.layout, holder)
        return ""

    def _follow(self) -> None:
        """In a store another dataset may have taken the place of the one before."""
        place = self._place
        layout = find_current(place.storage, place.layout)
        if layout != place.layout:
            self._place, self._keys = replace(place, layout=layout), None

    def _measure(self, now: float, finished: int) -> float | None:
        looks = self._finished
        looks.append((now, finished))
        while len(looks) > 2 and now - looks[1][0] >= RATE_SECONDS:
            looks.popleft()
        began, before = looks[0]
        return max(0, finished - before) / (now - began) if now > began else None

    def _list_in_hand(self, now: float, judgement: Judgement) -> tuple[InHand, ...]:
        plan, place = judgement.plan, self._place
        if plan is None or judgement.verdict.state is not State.RUNNING:
            return ()
        if self._first_look is None:
            self._first_look = now
        found = list_live_keys(place, plan, self._read_keys(plan))
        self._seen = {key: self._seen.get(key, now) for key in found}
        return tuple(
            InHand(key=key, seconds=now - since, is_longer=since == self._first_look)
            for key, since in sorted(self._seen.items(), key=lambda each: each[1])
        )

    def _read_keys(self, plan: PlannedBatches) -> PlanKeys:
        """Segments are never changed, only added."""
        if self._keys is None or self._keys[0] != len(plan.segments):
            keys = PlanKeys(self._place.storage, self._place.layout, plan)
            self._keys = (len(plan.segments), keys)
        return self._keys[1]

    def _list_failed(self, observation: Observation, plan: PlannedBatches | None) -> list[Failed]:
        """Of published batches, and of what is staged. A file is read once."""
        known, self._failed = self._failed, {}
        for name, batch in _list_files(self._place.layout, observation):
            found = known.get(name)
            if found is None:
                found = self._read(name, batch, plan)
            self._failed[name] = found
        # A sealed batch has its failures in its chunks, too.
        return list({key: error for found in self._failed.values() for key, error in found}.items())

    def _read(self, name: str, batch: int, plan: PlannedBatches | None) -> list[Failed]:
        storage = self._place.storage
        if not name.endswith(".arrow"):
            try:
                rows = read_quarantine(storage, name, batch)
            except (StorageError, OSError, ValueError, TypeError, KeyError):
                return []
            return [(row.key, row.error) for row in rows]
        failed = read_chunk_failures(storage, name)
        planned = plan.find(batch) if plan is not None and failed else None
        if plan is None or planned is None:
            return []
        keys = self._read_keys(plan).find(planned) or []
        return [(str(keys[item]), error) for item, error in failed if 0 <= item < len(keys)]


def _list_files(layout: Layout, observation: Observation) -> Iterator[tuple[str, int]]:
    """The files that tell of failures, and their batches."""
    for batch in sorted(observation.quarantine.keys() & observation.parts.keys()):
        claim = observation.claims.get(batch)
        yield layout.quarantined(batch, (claim.digest or "") if claim is not None else ""), batch
    for entry in observation.staged:
        staged = find_staged(last_piece(entry.name))
        is_part = isinstance(staged, StagedFile) and staged.kind == "sealed"
        if staged is not None and staged.batch not in observation.parts and not is_part:
            yield entry.name, staged.batch


def _group(failed: Iterable[Failed]) -> tuple[FailureKind, ...]:
    """By the name of the exception, or by the whole error if it names none; the most first."""
    groups: dict[str, list[Failed]] = {}
    for key, error in failed:
        groups.setdefault(name_kind(error), []).append((key, error))
    kinds = [
        FailureKind(kind=kind, count=len(all_), key=all_[0][0], error=all_[0][1])
        for kind, all_ in groups.items()
    ]
    return tuple(sorted(kinds, key=lambda each: -each.count))
