"""Threads that finish at the same moment put aside together what they have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest

from batten.model.disk.staged_names import StagedChunk
from batten.plan.plan import PlanBatch
from batten.rows.columns_of_rows import ITEM
from batten.work.calling.calls import Failure
from batten.work.item_runner import Done
from batten.work.staged.chunk_files import Piece
from batten.work.staged.piecing import make_pieces
from batten.work.staged.together import Together

THREADS = 8
SCHEMA = pa.schema({"value": pa.int64()}).serialize().to_pybytes()


def done(item: int, column: str = "value") -> Done:
    return Done(start=item, stop=item + 1, rows=[{column: item}], owners=[item])


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
    """What is put aside. The first file takes until `count` more pieces wait. An `error` comes
    of those after the first `good` files."""

    def __init__(self, count: int = 0, error: Exception | None = None, good: int = 1) -> None:
        self.pieces: list[tuple[int, Piece]] = []
        self.keeps_failures = True
        self.together = Together(self.store)
        self.is_begun = threading.Event()
        self._count = count
        self._error = error
        self._good = good

    def store(
        self, planned: PlanBatch, schema: bytes | None, ended: Sequence[Done]
    ) -> tuple[StagedChunk, ...]:
        self.is_begun.set()
        while not self.pieces and len(self.together._waiting) < self._count:
            pass  # Others are on their way.
        read = None if schema is None else pa.ipc.read_schema(pa.py_buffer(schema))
        pieces = make_pieces(ended, read, keeps_failures=self.keeps_failures)
        return tuple(self._put(planned.number, piece) for piece in pieces)

    def _put(self, number: int, stored: Piece) -> StagedChunk:
        self.pieces.append((number, stored))
        if self._error is not None and len(self.pieces) > self._good:
            raise self._error
        return StagedChunk(
            batch=number,
            start=stored.start,
            stop=stored.stop,
            some=stored.some,
            digest=f"{len(self.pieces):032x}",
        )


def bring(
    files: Files, brought: Sequence[tuple[PlanBatch, Done]], schema: bytes | None = None
) -> list[object]:
    """Each in a thread of its own, the others while the first is put aside, one after the other;
    what each was told."""
    return bring_with_schemas(files, [(*each, schema) for each in brought])


def bring_with_schemas(
    files: Files, brought: Sequence[tuple[PlanBatch, Done, bytes | None]]
) -> list[object]:
    told: list[object] = [None] * len(brought)

    def put(number: int) -> None:
        planned, own, schema = brought[number]
        try:
            told[number] = files.together.put_aside(planned, schema, own)
        except OSError as error:
            told[number] = error

    threads = [threading.Thread(target=put, args=(number,)) for number in range(len(brought))]
    threads[0].start()
    files.is_begun.wait()
    for number, thread in enumerate(threads[1:]):
        thread.start()
        while len(files.pieces) == 0 and len(files.together._waiting) <= number:
            pass  # It is on its way.
    for thread in threads:
        thread.join()
    return told


def items_of(told: list[object]) -> list[int]:
    chunks = [chunk for each in told if isinstance(each, tuple) for chunk in each]
    return sorted(item for chunk in chunks for a, b in chunk.ranges() for item in range(a, b))


def test_those_who_wait_are_in_one_file() -> None:
    files = Files(THREADS - 1)
    items = [3 * number for number in range(THREADS)]
    told = bring(files, [(batch(), done(item)) for item in items])
    assert [stored.start for _, stored in files.pieces] == [0, 3]
    merged = files.pieces[1][1].table
    assert merged is not None
    assert merged.column("value").to_pylist() == items[1:]
    assert items_of(told) == items
    assert sum(bool(each) for each in told) == 2


def test_items_without_rows_and_failures_go_with_the_others() -> None:
    files = Files(2)
    failure = Failure(item=1, error="E", trace="", attempts=1)
    failed = Done(start=1, stop=2, failures=[failure], slowest=((1, 500),))
    slow = Done(start=2, stop=3, rows=[{"value": 2}], owners=[2], slowest=((2, 600),))
    bring(files, [(batch(), done(0)), (batch(), failed), (batch(), slow)])
    _, merged = files.pieces[1]
    assert (merged.start, merged.stop, merged.some) == (1, 3, None)
    assert merged.failures == (failure,)
    assert sorted(merged.slowest) == [(1, 500), (2, 600)]


@pytest.mark.parametrize(
    "other",
    [
        lambda: (batch(), done(4, column="other")),
        lambda: (batch(1), done(2)),
        lambda: (batch(), done(700)),
    ],
    ids=["other columns", "another batch", "far away"],
)
def test_what_can_not_be_one_file_is_two(other: Callable[[], tuple[PlanBatch, Done]]) -> None:
    files = Files(3)
    near = [(batch(), done(item)) for item in (0, 1, 3)]
    told = bring(files, [*near, other()])
    assert len(files.pieces) == 3
    assert len(items_of(told)) == 4


def test_items_are_put_aside_in_their_order() -> None:
    files = Files(3)
    bring(files, [(batch(), done(item)) for item in (0, 7, 5, 6)])
    table = files.pieces[1][1].table
    assert table is not None
    assert table.column("value").to_pylist() == [5, 6, 7]


def test_tasks_of_another_schema_have_a_file_of_their_own() -> None:
    files = Files(2)
    brought = [(batch(), done(0), None), (batch(), done(1), None), (batch(), done(2), SCHEMA)]
    bring_with_schemas(files, brought)
    assert [piece.start for _, piece in files.pieces] == [0, 1, 2]


def test_who_shared_a_file_that_was_put_aside_is_not_told_of_a_later_one() -> None:
    error = OSError("no room")
    files = Files(3, error, good=2)
    others = [(batch(), done(1)), (batch(), done(2)), (batch(1), done(1003))]
    told = bring(files, [(batch(), done(0)), *others])
    assert items_of(told) == [0, 1, 2]
    assert [each is error for each in told] == [False, False, False, True]


def test_each_whose_piece_was_not_put_aside_is_told_why() -> None:
    error = OSError("no room")
    files = Files(2, error)
    told = bring(files, [(batch(), done(item)) for item in range(3)])
    assert items_of(told[:1]) == [0]
    assert told[1:] == [error, error]


def unfit(start: int) -> Done:
    """Three items, of which the second does not fit."""
    values = [start, "a text", start + 2]
    return Done(
        start=start,
        stop=start + 3,
        rows=[{"value": value} for value in values],
        owners=[start, start + 1, start + 2],
    )


def test_whose_rows_do_not_fit_is_told_to_who_brought_them() -> None:
    files, ended = Files(2), [done(0), unfit(1), done(4)]
    told = bring(files, [(batch(), each) for each in ended], SCHEMA)
    assert [[failure.item for failure in each.failures] for each in ended] == [[], [2], []]
    _, merged = files.pieces[1]
    assert merged.table is not None
    assert merged.table.column("value").to_pylist() == [1, 3, 4]
    assert [failure.item for failure in merged.failures] == [2]
    assert items_of(told) == [0, 1, 2, 3, 4]


def test_whose_first_row_does_not_fit_is_told_itself() -> None:
    files, ended = Files(2), [done(0), done(1), done(2)]
    ended[2].rows[0]["value"] = "a text"
    bring(files, [(batch(), each) for each in ended], SCHEMA)
    assert [[failure.item for failure in each.failures] for each in ended] == [[], [], [2]]


def test_where_failures_are_not_kept_each_ends_before_its_own_first() -> None:
    files, ended = Files(2), [done(0), unfit(1), unfit(4)]
    files.keeps_failures = False
    told = bring(files, [(batch(), each) for each in ended], SCHEMA)
    assert [each.stop for each in ended] == [1, 2, 5]
    assert [[failure.item for failure in each.failures] for each in ended] == [[], [2], [5]]
    _, merged = files.pieces[1]
    assert merged.table is not None
    assert merged.table.column("value").to_pylist() == [1, 4]
    assert not merged.failures
    assert items_of(told) == [0, 1, 4]


def test_what_did_not_fit_is_told_once_when_it_is_made_again() -> None:
    """As where a whole batch can't be sealed, since no row of it fits."""
    ended = Done(start=0, stop=1, rows=[{}], owners=[0])
    first = make_pieces([ended], None, keeps_failures=True)
    (piece,) = make_pieces([ended], None, keeps_failures=True)
    assert first == [piece]
    assert [failure.item for failure in ended.failures] == [0]
    assert piece.failures == tuple(ended.failures)


def test_tables_of_several_are_one_where_they_fit_a_schema() -> None:
    tables = [pa.table({"value": [item], ITEM: pa.array([item], pa.int64())}) for item in range(3)]
    brought = [
        (batch(), Done(start=item, stop=item + 1, tables=[table]))
        for item, table in enumerate(tables)
    ]
    files = Files(2)
    bring(files, brought, SCHEMA)
    assert [piece.start for _, piece in files.pieces] == [0, 1]
    apart = Files(2)
    bring(apart, brought)
    assert [piece.start for _, piece in apart.pieces] == [0, 1, 2]
