"""Threads that finish at the same moment put aside together what they have.

Who comes while another thread is at it waits, and is part of the next file. So no thread begins a
further call before its answer is put aside: a kill costs no answer, only calls in flight. And of
fifty threads that end at once each waits for two files at most, not for fifty (decision 0149).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

from batten.model.disk.staged_names import SOME_ITEMS_MAX, StagedChunk
from batten.plan.plan import PlanBatch
from batten.work.staged.chunk_files import Piece, merge_pieces

StorePiece = Callable[[PlanBatch, Piece], StagedChunk]


@dataclass(eq=False)
class _Brought:
    """A piece that a thread brought. One of those that one file holds gets the chunk."""

    batch: PlanBatch
    piece: Piece
    chunk: StagedChunk | None = None
    is_safe: bool = False


class _Thread:
    """What one thread brought. `wait` ends when all is done, or it is its turn."""

    def __init__(self, brought: Sequence[_Brought]) -> None:
        self.brought = brought
        self.is_done = False
        self.error: Exception | None = None
        self._news = Lock()
        self._news.acquire()
        self.wait, self.wake = self._news.acquire, self._news.release


class Together:
    """Puts pieces aside by `store`, called by one thread at a time."""

    def __init__(self, store: StorePiece) -> None:
        self._store = store
        self._lock = Lock()
        self._is_busy = False
        self._waiting: list[_Thread] = []

    def put_aside(self, batch: PlanBatch, pieces: Iterable[Piece]) -> tuple[StagedChunk, ...]:
        """When it returns they are put aside. What one file holds of several threads is told to one
        of them alone. What `store` raises is raised in each whose pieces were not put aside."""
        own = _Thread([_Brought(batch, piece) for piece in pieces])
        with self._lock:
            self._waiting.append(own)
            has_turn, self._is_busy = not self._is_busy, True
        if not has_turn:
            own.wait()
        if not own.is_done:
            self._take_turn(own)
        if own.error is not None:
            raise own.error
        return tuple(each.chunk for each in own.brought if each.chunk is not None)

    def _take_turn(self, own: _Thread) -> None:
        """Put aside all that waits. All are woken by this thread: if each let the next go on,
        hundreds would stand in line for that. The first who came meanwhile has the next turn."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        try:
            self._put_all([brought for thread in taken for brought in thread.brought])
        except Exception as error:  # noqa: BLE001 - raised again by who brought them
            for thread in taken:
                if not all(each.is_safe for each in thread.brought):
                    thread.error = error
        with self._lock:
            self._is_busy = bool(self._waiting)
            if self._is_busy:
                self._waiting[0].wake()
        for thread in taken:
            thread.is_done = True
            if thread is not own:
                thread.wake()

    def _put_all(self, brought: Sequence[_Brought]) -> None:
        for group in _group(brought):
            piece = merge_pieces([each.piece for each in group])
            group[0].chunk = self._store(group[0].batch, piece)
            for each in group:
                each.is_safe = True


def _group(waiting: Sequence[_Brought]) -> Iterator[list[_Brought]]:
    """Those of which one file may hold the pieces: of one batch, with rows alike, near each other
    in the plan."""
    group: list[_Brought] = []
    for each in sorted(waiting, key=lambda each: (each.batch.number, each.piece.start)):
        if group and not _goes_with(group, each):
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _goes_with(group: Sequence[_Brought], each: _Brought) -> bool:
    first = group[0]
    if first.batch.number != each.batch.number:
        return False
    if each.piece.stop - first.piece.start > SOME_ITEMS_MAX:
        return False
    with_rows = next((other for other in group if other.piece.table is not None), first)
    return with_rows.piece.is_like(each.piece)
