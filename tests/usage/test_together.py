"""Threads that finish at the same moment put aside together what they have."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pyarrow as pa
import pytest

from batten.model.disk.staged_names import StagedChunk
from batten.plan.plan import PlanBatch
from batten.rows.arrays import integers
from batten.rows.columns_of_rows import ITEM
from batten.work.calling.calls import Failure
from batten.work.staged.chunk_files import Piece
from batten.work.staged.together import Together

THREADS = 8


def rows(*items: int, column: str = "value") -> pa.Table:
    return pa.table({ITEM: integers(items), column: integers(items)})


def piece(item: int, table: pa.Table | None = None) -> Piece:
    return Piece(start=item, stop=item + 1, table=table, failures=())


def batch(number: int = 0) -> PlanBatch:
    return PlanBatch(
        number=number,
        first_item=number * 1000,
        items=1000,
        keys_description="",
        segment=0,
        index=number,
    )


class Files:
    """What is put aside. The first file takes until `count` more pieces wait."""

    def __init__(self, count: int = 0, error: Exception | None = None) -> None:
        self.pieces: list[tuple[int, Piece]] = []
        self.together = Together(self.store)
        self.is_begun = threading.Event()
        self._count = count
        self._error = error

    def store(self, planned: PlanBatch, stored: Piece) -> StagedChunk:
        self.is_begun.set()
        while not self.pieces and len(self.together._waiting) < self._count:
            pass  # Others are on their way.
        self.pieces.append((planned.number, stored))
        if self._error is not None and len(self.pieces) > 1:
            raise self._error
        return StagedChunk(
            batch=planned.number,
            start=stored.start,
            stop=stored.stop,
            some=stored.some,
            digest=f"{len(self.pieces):032x}",
        )


def bring(files: Files, brought: list[tuple[PlanBatch, Piece]]) -> list[object]:
    """Each in a thread of its own, the others while the first is put aside; what each was told."""
    told: list[object] = [None] * len(brought)

    def put(number: int) -> None:
        planned, own = brought[number]
        try:
            told[number] = files.together.put_aside(planned, [own])
        except OSError as error:
            told[number] = error

    threads = [threading.Thread(target=put, args=(number,)) for number in range(len(brought))]
    threads[0].start()
    files.is_begun.wait()
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def items_of(told: list[object]) -> list[int]:
    chunks = [chunk for each in told if isinstance(each, tuple) for chunk in each]
    return sorted(item for chunk in chunks for a, b in chunk.ranges() for item in range(a, b))


def test_those_who_wait_are_in_one_file() -> None:
    files = Files(THREADS - 1)
    items = [3 * number for number in range(THREADS)]
    told = bring(files, [(batch(), piece(item, rows(item))) for item in items])
    assert [stored.start for _, stored in files.pieces] == [0, 3]
    merged = files.pieces[1][1].table
    assert merged is not None
    assert merged.column("value").to_pylist() == items[1:]
    assert items_of(told) == items
    assert sum(bool(each) for each in told) == 2


def test_items_without_rows_and_failures_go_with_the_others() -> None:
    files = Files(2)
    failure = Failure(item=1, error="E", trace="", attempts=1)
    failed = Piece(start=1, stop=2, table=None, failures=(failure,), slowest=((1, 500),))
    bring(files, [(batch(), piece(0, rows(0))), (batch(), failed), (batch(), piece(2, rows(2)))])
    _, merged = files.pieces[1]
    assert (merged.start, merged.stop, merged.some) == (1, 3, None)
    assert merged.failures == (failure,)
    assert merged.slowest == ((1, 500),)


@pytest.mark.parametrize(
    "other",
    [
        lambda: (batch(), piece(4, rows(4, column="other"))),
        lambda: (batch(1), piece(2, rows(2))),
        lambda: (batch(), piece(700, rows(700))),
    ],
    ids=["other columns", "another batch", "far away"],
)
def test_what_can_not_be_one_file_is_two(other: Callable[[], tuple[PlanBatch, Piece]]) -> None:
    files = Files(3)
    near = [(batch(), piece(item, rows(item))) for item in (0, 1, 3)]
    told = bring(files, [*near, other()])
    assert len(files.pieces) == 3
    assert len(items_of(told)) == 4


def test_each_whose_piece_was_not_put_aside_is_told_why() -> None:
    error = OSError("no room")
    files = Files(2, error)
    told = bring(files, [(batch(), piece(item, rows(item))) for item in range(3)])
    assert items_of(told[:1]) == [0]
    assert told[1:] == [error, error]
