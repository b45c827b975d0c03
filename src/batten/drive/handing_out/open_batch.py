"""A batch that is being worked on, and the ranges of its items."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from batten.drive.handing_out.flight import Blame
from batten.model.disk.staged_names import StagedChunk
from batten.model.rules.coverage import find_within
from batten.model.value_class import value_class
from batten.work.calling.calls import Failure
from batten.work.tasks import Reopened, Sealed


@value_class
class Range:
    """Items to be done. `deaths` counts the workers that died with it in hand, and `losses` the
    machines that were gone after they had begun it. With a `company` it is under suspicion of
    ending the run: at most so many items are in hand while it is."""

    start: int
    stop: int
    deaths: int = 0
    timeouts: int = 0
    losses: int = 0
    is_apart: bool = False
    company: int | None = None
    condemned: Failure | None = None


@value_class
class BatchLeft:
    """What is left of a batch when its work begins: all but the items of the `chunks`; if it is
    `sealed`, nothing but to publish it. `kept_items` of the chunks' are of a part that is there,
    the others are adopted from an earlier run. `is_reopened`: the finished items of the part stay.
    """

    number: int
    chunks: tuple[StagedChunk, ...] = ()
    kept_items: int = 0
    sealed: Sealed | None = None
    is_reopened: bool = False


def left_of(
    answer: Reopened, staged: Iterable[StagedChunk] = (), *, is_reopened: bool = False
) -> BatchLeft:
    """Of a batch whose part was taken apart, with what was staged since of items that are to be
    done again."""
    return BatchLeft(
        number=answer.batch,
        chunks=(*answer.chunks, *find_within(staged, answer.again)),
        kept_items=sum(chunk.items for chunk in answer.chunks),
        is_reopened=is_reopened,
    )


@dataclass(kw_only=True)
class OpenBatch:
    """A batch that is being worked on."""

    number: int
    items: int
    todo: deque[Range]
    chunks: list[StagedChunk] = field(default_factory=list)
    running: int = 0
    is_sealing: bool = False
    is_rowless: bool = False
    is_reopened: bool = False
    sealed: Sealed | None = None

    @property
    def is_finished(self) -> bool:
        """Whether all its items are staged and it can be sealed."""
        return (
            not self.todo
            and not self.running
            and self.sealed is None
            and not self.is_sealing
            and self.staged_items == self.items
        )

    @property
    def staged_items(self) -> int:
        if self.sealed is not None:
            return self.items
        return sum(chunk.items for chunk in self.chunks)

    def take_range(self, items_max: int, *, unit_items: int | None) -> Range:
        """The next range to be done, of so many items: what is left of it is to be done later. If
        the steps take several items at a time, it is whole units."""
        work = self.todo.popleft()
        counted = work.deaths + work.timeouts + work.losses
        if work.condemned is not None or work.is_apart or counted:
            return work
        size = min(work.stop - work.start, items_max)
        if unit_items is not None:
            size = max(unit_items - work.start % unit_items, 0)
        if size < work.stop - work.start:
            self.todo.appendleft(Range(start=work.start + size, stop=work.stop))
            work = Range(start=work.start, stop=work.start + size)
        return work

    def put_back_around(self, work: Range, taken: Range) -> None:
        """What of `work` lies before and behind the `taken` is to be done again."""
        if taken.stop < work.stop:
            rest = Range(start=taken.stop, stop=work.stop, is_apart=work.is_apart)
            self.todo.appendleft(rest)
        if work.start < taken.start:
            before = Range(start=work.start, stop=taken.start, is_apart=work.is_apart)
            self.todo.appendleft(before)


def cut_evenly(work: Range, items_max: int) -> int:
    """How many items the first piece has, so that no piece has more than so many, and the last is
    about as large: whoever has a small one asks for the next before it is there."""
    items = work.stop - work.start
    return -(-items // -(-items // items_max))


def cut_gaps(gaps: Iterable[tuple[int, int]], items: int) -> list[tuple[int, int]]:
    """What of the gaps is among so many first items."""
    return [(start, min(stop, items)) for start, stop in gaps if start < items]


def split_blamed(gaps: Iterable[tuple[int, int]], first_item: int, blame: Blame) -> Iterator[Range]:
    """The gaps as ranges, with items that crashes of the whole run are blamed on by
    themselves: not to be tried any more, or with few others in hand."""
    condemned, suspects = blame.condemned, blame.suspects
    for start, stop in gaps:
        cut = start
        for item in range(first_item + start, first_item + stop) if blame else ():
            place = item - first_item
            if item not in condemned and item not in suspects:
                continue
            if place > cut:
                yield Range(start=cut, stop=place)
            yield Range(
                start=place,
                stop=place + 1,
                condemned=condemned.get(item),
                company=suspects.get(item),
            )
            cut = place + 1
        if cut < stop:
            yield Range(start=cut, stop=stop)
