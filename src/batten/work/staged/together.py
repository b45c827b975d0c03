"""Threads that finish at the same moment put aside together what they have.

Who comes while another thread is at it waits, and is part of the next file. So no thread begins a
further call before its answer is put aside: a kill costs no answer, only calls in flight. And of
fifty threads that end at once each waits for two files at most, not for fifty (decision 0149).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

from batten.model.disk.staged_names import SOME_ITEMS_MAX, StagedChunk
from batten.plan.plan import PlanBatch
from batten.work.staged.chunk_files import Piece, merge_pieces

StorePiece = Callable[[PlanBatch, Piece], StagedChunk]


@dataclass(eq=False)
class _Brought:
    """What a thread brought. When it is done the chunks are there, or an error says why not."""

    batch: PlanBatch
    piece: Piece
    chunk: StagedChunk | None = None
    error: Exception | None = None
    is_done: bool = False


class Together:
    """Puts pieces aside by `store`, called by one thread at a time."""

    def __init__(self, store: StorePiece) -> None:
        self._store = store
        self._turn = Lock()
        self._waiting: deque[_Brought] = deque()

    def put_aside(self, batch: PlanBatch, pieces: Iterable[Piece]) -> tuple[StagedChunk, ...]:
        """When it returns they are put aside. What one file holds of several threads is told to one
        of them alone. What `store` raises is raised in each whose pieces were not put aside."""
        brought = [_Brought(batch, piece) for piece in pieces]
        self._waiting.extend(brought)
        with self._turn:
            if not all(each.is_done for each in brought):
                self._put_all()
        for each in brought:
            if each.error is not None:
                raise each.error
        return tuple(each.chunk for each in brought if each.chunk is not None)

    def _put_all(self) -> None:
        """Who comes meanwhile waits for the next turn."""
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            for group in _group(waiting):
                piece = merge_pieces([each.piece for each in group])
                group[0].chunk = self._store(group[0].batch, piece)
                for each in group:
                    each.is_done = True
        except Exception as error:  # noqa: BLE001 - raised again by who brought them
            for each in waiting:
                if not each.is_done:
                    each.is_done, each.error = True, error


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
