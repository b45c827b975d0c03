"""Batches begun and not yet published, in the order of the plan."""

from __future__ import annotations

from collections.abc import Iterator

from batten.drive.handing_out.open_batch import BatchLeft, OpenBatch, Range
from batten.drive.handing_out.opening import Opening
from batten.model.disk.staged_names import StagedChunk
from batten.work.tasks import Sealed

OPEN_BATCHES_MAX = 1024
"""Batches begun and not yet published, at most; they wait on disk."""


class OpenBatches:
    """Batches that an `Opening` began, until they may be published."""

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self._batches: dict[int, OpenBatch] = {}
        self._whole: set[int] | None = None

    def __iter__(self) -> Iterator[OpenBatch]:
        return iter(self._batches.values())

    def __getitem__(self, number: int) -> OpenBatch:
        return self._batches[number]

    @property
    def staged_items(self) -> int:
        """Items that are finished."""
        return sum(batch.staged_items for batch in self)

    @property
    def are_rowless(self) -> bool:
        """Whether there are some, and none has rows."""
        return bool(self._batches) and all(batch.is_rowless for batch in self)

    def reopen(self, left: BatchLeft) -> None:
        """A published batch is to be done again."""
        self._add(self.opening.reopen(left))

    def find_todo(self) -> OpenBatch | None:
        """The first with items to be done."""
        for batch in self:
            if batch.todo:
                return batch
        while self._has_room:
            opened = self._open_next()
            if opened is None or opened.todo:
                return opened
        return None

    def open_whole(self) -> None:
        """Once, open the next batches as long as they are staged whole, and the one after them."""
        if self._whole is None:
            self._whole = set(self._open_while_whole())

    def _open_while_whole(self) -> Iterator[int]:
        while self._has_room:
            opened = self._open_next()
            if opened is None or not (opened.sealed or opened.is_finished):
                return
            yield opened.number

    @property
    def is_settling(self) -> bool:
        """Whether what an earlier run had staged whole is not published yet. No work is handed out
        until it is: else runs that end soon would stage more and more, and publish nothing."""
        first = next(iter(self), None)
        return first is not None and first.number in (self._whole or ()) and not first.is_rowless

    @property
    def _has_room(self) -> bool:
        """Batches without rows wait for the first that has some, however many they are."""
        return sum(not batch.is_rowless for batch in self) < OPEN_BATCHES_MAX

    def _open_next(self) -> OpenBatch | None:
        opened = self.opening.open_next()
        if opened is not None:
            self._add(opened)
        return opened

    def _add(self, batch: OpenBatch) -> None:
        is_last = not self._batches or next(reversed(self._batches)) < batch.number
        self._batches[batch.number] = batch
        if not is_last:
            self._batches = dict(sorted(self._batches.items()))

    def redo(self, batch: OpenBatch, chunk: StagedChunk) -> None:
        """A staged chunk turned out damaged: its items are done again."""
        batch.chunks.remove(chunk)
        (self._whole or set()).discard(batch.number)
        batch.todo.extend(Range(start=start, stop=stop) for start, stop in chunk.ranges())
        self.opening.adopted_items -= chunk.items

    def take_ready(self) -> list[tuple[Sealed, list[StagedChunk]]]:
        """Sealed ones that may be published now, those before which none is open, and the chunks
        they were made from."""
        ready = []
        while self._batches:
            number, batch = next(iter(self._batches.items()))
            if batch.sealed is None:
                break
            ready.append((batch.sealed, batch.chunks))
            del self._batches[number]
        return ready
