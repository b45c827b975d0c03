"""Batches that are begun, and what of them is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batten.drive.handing_out.flight import Blame
from batten.drive.handing_out.open_batch import BatchLeft, Range
from batten.drive.handing_out.open_batches import OpenBatches
from batten.drive.handing_out.opening import Opening
from batten.drive.handing_out.suspects import Suspects
from batten.model.disk.staged_names import StagedChunk
from batten.work.work_sizes import Pace

if TYPE_CHECKING:
    from conftest import MakePlan


def begin(
    make_plan: MakePlan,
    staged: Sequence[StagedChunk] = (),
    *,
    limit: int | None = None,
    blame: Blame | None = None,
) -> OpenBatches:
    """Of three batches of ten items, of which these chunks are staged."""

    def find_left(number: int) -> BatchLeft:
        return BatchLeft(number=number, chunks=tuple(c for c in staged if c.batch == number))

    opening = Opening(
        make_plan(30, 10),
        range(3),
        find_left=find_left,
        limit=limit,
        suspects=Suspects(blame or Blame(condemned={}, suspects={})),
        pace=Pace(slots=1, items_left=30),
    )
    return OpenBatches(opening)


def chunk(batch: int, start: int, stop: int) -> StagedChunk:
    return StagedChunk(batch=batch, start=start, stop=stop, digest="d")


def test_a_batch_is_begun_with_what_is_not_staged(make_plan: MakePlan) -> None:
    batches = begin(make_plan, [chunk(0, 2, 5)])
    batch = batches.find_todo()
    assert batch is not None
    assert list(batch.todo) == [Range(start=0, stop=2), Range(start=5, stop=10)]
    assert (batches.staged_items, batches.opening.adopted_items) == (3, 3)


def test_nothing_is_begun_beyond_the_limit(make_plan: MakePlan) -> None:
    opening = begin(make_plan, limit=14).opening
    found = [opening.open_next() for _ in range(3)]
    assert [each and list(each.todo) for each in found] == [
        [Range(start=0, stop=10)],
        [Range(start=0, stop=4)],
        None,
    ]
    assert opening.is_exhausted


def test_suspects_wait_apart(make_plan: MakePlan) -> None:
    opening = begin(make_plan, blame=Blame(condemned={}, suspects={3: 1})).opening
    batch = opening.open_next()
    assert batch is not None
    assert list(batch.todo) == [Range(start=0, stop=3), Range(start=4, stop=10)]


def test_whole_batches_are_opened_at_once_with_the_one_after_them(make_plan: MakePlan) -> None:
    batches = begin(make_plan, [chunk(0, 0, 10)])
    batches.open_whole()
    assert [batch.number for batch in batches] == [0, 1]
    assert batches.is_settling
    batches.redo(batches[0], batches[0].chunks[0])
    assert not batches.is_settling
    assert batches.opening.adopted_items == 0
    assert list(batches[0].todo) == [Range(start=0, stop=10)]


def test_they_stay_in_the_order_of_the_plan(make_plan: MakePlan) -> None:
    batches = begin(make_plan)
    batches.reopen(BatchLeft(number=2))
    assert batches.find_todo() is batches[2]
    batches.opening.open_next()
    batches.open_whole()
    assert [batch.number for batch in batches] == [1, 2]
