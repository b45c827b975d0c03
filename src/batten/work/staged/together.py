"""Threads that finish at the same moment put aside together what they have.

Who comes while another thread is at it waits, and is part of the next file. So no thread begins a
further call before its answer is put aside: a kill costs no answer, only calls in flight. And of
fifty threads that end at once each waits for two files at most, not for fifty (decision 0149).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Lock

from batten.model.disk.staged_names import SOME_ITEMS_MAX, StagedChunk
from batten.plan.plan import PlanBatch
from batten.work.item_runner import Done

Store = Callable[[PlanBatch, bytes | None, Sequence[Done]], tuple[StagedChunk, ...]]
"""Puts aside items of a batch, of a task that was given this schema. They are in order."""


class _Brought:
    """What one thread brought. `wait` ends when all is done, or it is its turn. One of those that
    were put aside together gets the chunks."""

    def __init__(self, batch: PlanBatch, schema: bytes | None, done: Done) -> None:
        self.batch = batch
        self.schema = schema
        self.done = done
        self.chunks: tuple[StagedChunk, ...] = ()
        self.is_safe = self.is_over = False
        self.error: Exception | None = None
        self._news = Lock()
        self._news.acquire()
        self.wait, self.wake = self._news.acquire, self._news.release


class Together:
    """Puts items aside by `store`, called by one thread at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()
        self._is_busy = False
        self._waiting: list[_Brought] = []

    def put_aside(
        self, batch: PlanBatch, schema: bytes | None, done: Done
    ) -> tuple[StagedChunk, ...]:
        """When it returns they are put aside. What files hold of several threads is told to one
        of them alone. What `store` raises is raised in each whose items were not put aside."""
        own = _Brought(batch, schema, done)
        with self._lock:
            self._waiting.append(own)
            has_turn, self._is_busy = not self._is_busy, True
        if not has_turn:
            own.wait()
        if not own.is_over:
            self._take_turn(own)
        if own.error is not None:
            raise own.error
        return own.chunks

    def _take_turn(self, own: _Brought) -> None:
        """Put aside all that waits. All are woken by this thread: if each let the next go on,
        hundreds would stand in line for that. The first who came meanwhile has the next turn."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        try:
            for group in _group(taken):
                first = group[0]
                done = [each.done for each in group]
                first.chunks = self._store(first.batch, first.schema, done)
                for each in group:
                    each.is_safe = True
        except Exception as error:  # noqa: BLE001 - raised again by who brought them
            for each in taken:
                if not each.is_safe:
                    each.error = error
        with self._lock:
            self._is_busy = bool(self._waiting)
            if self._is_busy:
                self._waiting[0].wake()
        for each in taken:
            each.is_over = True
            if each is not own:
                each.wake()


def _group(waiting: Sequence[_Brought]) -> Iterator[list[_Brought]]:
    """Those that may be put aside together: of one batch, with one schema, near each other in the
    plan."""
    group: list[_Brought] = []
    for each in sorted(waiting, key=lambda each: (each.batch.number, each.done.start)):
        if group and not _goes_with(group[0], each):
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _goes_with(first: _Brought, each: _Brought) -> bool:
    if first.batch.number != each.batch.number or first.schema != each.schema:
        return False
    return each.done.stop - first.done.start <= SOME_ITEMS_MAX
