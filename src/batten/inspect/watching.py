"""A run at work, seen from outside: how fast it is, what it has in hand, what has failed.

Everything is read from disk, as `show` does, and the run knows nothing of it. Since when an item is
in hand is known from the first look that saw it; before that look, it may have been so longer.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from typing import Any

from batten.errors import StorageError
from batten.inspect.advising.in_hand import list_live_keys
from batten.inspect.output_path import Place, locate_output
from batten.inspect.plan_keys import PlanKeys
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import Judgement, judge
from batten.ledger.quarantine_file import read_quarantine
from batten.model.rules.accounting import Accounts
from batten.model.value_class import value_class
from batten.model.words import State

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
    when the run began, by the text of its lock."""

    path: str
    state: State
    items: Accounts
    rows: int
    since: str
    rate: float | None
    in_hand: tuple[InHand, ...]
    failures: tuple[FailureKind, ...]

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
        }


class Watcher:
    """Looks at one output again and again. Reads only, and takes no lock."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._place = locate_output(path)
        self._seen: dict[str, float] = {}
        self._first_look: float | None = None
        self._finished: deque[tuple[float, int]] = deque()
        self._failed: dict[tuple[int, str], list[tuple[str, str]]] = {}
        self._keys: tuple[int, PlanKeys] | None = None

    def look(self, now_seconds: float) -> Sight:
        """What is there now; `now_seconds` are of a clock that never goes back."""
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
            failures=_group(self._list_failed(observation)),
        )

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
        if self._keys is None or self._keys[0] != len(plan.segments):
            # Segments are never changed, only added.
            keys = PlanKeys(place.storage, place.layout, plan)
            self._keys = (len(plan.segments), keys)
        if self._first_look is None:
            self._first_look = now
        found = list_live_keys(place, plan, self._keys[1])
        self._seen = {key: self._seen.get(key, now) for key in found}
        return tuple(
            InHand(key=key, seconds=now - since, is_longer=since == self._first_look)
            for key, since in sorted(self._seen.items(), key=lambda each: each[1])
        )

    def _list_failed(self, observation: Observation) -> Iterable[tuple[str, str]]:
        """Keys and errors of what published batches have quarantined; a file is read once."""
        wanted = {}
        for batch in sorted(observation.quarantine.keys() & observation.parts.keys()):
            claim = observation.claims.get(batch)
            digest = (claim.digest or "") if claim is not None else ""
            wanted[batch, digest] = self._failed.get((batch, digest))
        for (batch, digest), known in wanted.items():
            if known is None:
                wanted[batch, digest] = _read(self._place, batch, digest)
        self._failed = {key: known for key, known in wanted.items() if known is not None}
        return [each for known in self._failed.values() for each in known]


def _read(place: Place, batch: int, digest: str) -> list[tuple[str, str]] | None:
    """None if it can't be read now: it may be about to be replaced."""
    try:
        found = read_quarantine(place.storage, place.layout.quarantined(batch, digest), batch)
    except (StorageError, OSError, ValueError, TypeError, KeyError):
        return None
    return [(each.key, each.error) for each in found]


def _group(failed: Iterable[tuple[str, str]]) -> tuple[FailureKind, ...]:
    """By the name of the exception, or by the whole error if it names none; the most first."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for key, error in failed:
        name, colon, _ = error.partition(":")
        groups.setdefault(name if colon and name.isidentifier() else error, []).append((key, error))
    kinds = [
        FailureKind(kind=kind, count=len(all_), key=all_[0][0], error=all_[0][1])
        for kind, all_ in groups.items()
    ]
    return tuple(sorted(kinds, key=lambda each: -each.count))
