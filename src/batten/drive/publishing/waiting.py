"""Sealed batches that wait to be published.

They wait for others, to share the syncs of folders, or until it is known whose failure it is that
some of their items failed (decision 0056).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from batten.drive.publishing.publishers import AnyPublisher
from batten.run.clock import now_ns
from batten.run.context import Context
from batten.run.telling.events import RunEvents
from batten.work.calling.most_fail import Streak
from batten.work.tasks import Sealed

PUBLISH_SECONDS = 0.1
"""Sealed batches wait this long for others; they lie safe on disk."""

PUBLISH_BATCHES = 64

ReadyBatch = tuple[Sealed, list[str]]
"""A sealed batch, and the names of what was staged for it."""


class Waiting:
    """Knows what was staged for each batch, to be deleted when it is published."""

    def __init__(self, context: Context, publisher: AnyPublisher, streak: Streak) -> None:
        self._context = context
        self._publisher = publisher
        self._streak = streak
        self._events = RunEvents(context)
        self._ready: list[ReadyBatch] = []
        self._begun_ns: dict[int, int] = {}
        self._published_at = 0.0

    @property
    def items(self) -> int:
        """How many items wait."""
        return sum(sealed.described.items for sealed, _ in self._ready)

    def note_begun(self, batch: int) -> None:
        """Work of a batch is handed out. May be repeated."""
        self._begun_ns.setdefault(batch, now_ns())

    def add(self, sealed: Sealed, leftovers: list[str]) -> None:
        """Take a batch before which none is open, and the names of what was staged for it."""
        self._ready.append((sealed, leftovers))

    def publish(self, *, is_last: bool, in_doubt: bool, before: Callable[[], None]) -> list[Sealed]:
        """The batches that were published now: those before the first that is in doubt, or all. A
        batch that is reopened has its part, so it waits for no batch before it. What comes
        `before` a part may appear is done first."""
        ready, rest = (self._ready, []) if in_doubt else self._split()
        now = time.monotonic()
        is_due = now - self._published_at >= PUBLISH_SECONDS
        if not ready or not (is_due or is_last or len(ready) >= PUBLISH_BATCHES):
            return []
        batches = [sealed for sealed, _ in ready]
        with self._context.timed("publish"):
            before()
            self._publisher.publish(batches, [name for _, names in ready for name in names])
        for each in batches:
            self._events.tell_published(
                each.batch,
                items=each.described.items,
                rows=each.described.rows,
                size=each.size,
                outcomes=each.described.outcomes,
                digest=each.digest,
                began_ns=self._begun_ns.pop(each.batch, None),
            )
        self._ready = rest
        self._published_at = time.monotonic()
        return batches

    def _split(self) -> tuple[list[ReadyBatch], list[ReadyBatch]]:
        free: list[ReadyBatch] = []
        held: list[ReadyBatch] = []
        for each in self._ready:
            batch = each[0].batch
            is_doubtful = self._streak.is_doubtful(batch)
            waits = bool(held) and batch not in self._publisher.reopened
            (held if is_doubtful or waits else free).append(each)
        return free, held
