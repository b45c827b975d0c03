"""Which work comes next: batches in the order of the plan, cut into pieces.

A piece takes about a quarter of a second. What was staged before is taken over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from batten.drive.handing_out.cut_off import (
    Interrupted,
    put_back_dead,
    put_back_lost,
    put_back_overdue,
)
from batten.drive.handing_out.flight import Blame
from batten.drive.handing_out.handed_out import HandedOut
from batten.drive.handing_out.open_batch import (
    BatchLeft,
    OpenBatch,
    Range,
    cut_evenly,
    cut_gaps,
    split_blamed,
)
from batten.drive.handing_out.suspects import Suspects
from batten.model.disk.staged_names import StagedChunk
from batten.model.rules.coverage import choose_cover
from batten.plan.plan import Plan
from batten.work.calling.calls import Failure
from batten.work.tasks import Portion, Prepare, Prepared, Seal, Sealed, Task, Unsealable
from batten.work.work_sizes import Allotment, Pace

OPEN_BATCHES_MAX = 1024
"""Batches begun and not yet published, at most; they wait on disk."""


class Schedule:
    """Hands out tasks and takes answers. Knows no time but what answers tell, and no storage.

    `is_exhausted`: all batches have been opened. Until then there is more to do, even if nothing
    can be handed out: open batches must be published first. `may_begin` says beside so many
    tasks in hand whether one more may be, of which item; if not, there is work `is_held_up`.
    `has_idle` says whether a machine has come that has nothing, though others have much."""

    def __init__(
        self,
        plan: Plan,
        pending: Iterable[int],
        *,
        find_left: Callable[[int], BatchLeft],
        schema: bytes | None,
        allotment: Allotment,
        blame: Blame,
    ) -> None:
        self._plan = plan
        self._pending = iter(pending)
        self._find_left = find_left
        self.schema = schema
        self.pace = Pace(
            slots=allotment.slots,
            tasks_a_slot_min=allotment.tasks_a_slot_min,
            task_seconds=allotment.task_seconds,
        )
        self._machines = 1
        self._unit_items = allotment.unit_items
        self._range_items = allotment.range_items
        self._blame = blame
        self._limit = allotment.limit
        self._open: dict[int, OpenBatch] = {}
        self._suspects = Suspects()
        self._handed_out = HandedOut()
        self.is_exhausted = False
        self._whole: set[int] | None = None
        self.adopted_items = 0
        self.failures_max: int | None = None
        self._heard = 0
        self.may_begin: Callable[[int, int], bool] = lambda in_hand, item: True
        self.has_idle: Callable[[], bool] = lambda: False
        self.is_held_up = False
        self.is_failing = False
        self._is_closing = False

    @property
    def outstanding(self) -> int:
        return len(self._handed_out)

    def resize(self, slots: int, machines: int) -> None:
        """So many tasks run at a time from now on, on so many machines."""
        self.pace.slots, self._machines = max(1, slots), machines

    @property
    def wants_task(self) -> bool:
        """Whether a further task should be handed out: always where somebody has none. Ranges of a
        fixed size have many items in hand, so enough items besides those of the next range wait for
        a place."""
        if self._is_closing or self.has_idle():
            return True
        if self._range_items is None:
            return self.outstanding < self.pace.slots * self._tasks_a_slot
        return sum(self._handed_out.list_waiting()[self._machines :]) < self.pace.slots

    @property
    def _tasks_a_slot(self) -> int:
        """It is one while there is no schema, since a batch that begins without a schema must be
        sealed again. So it is while all items fail, and the run may be about to stop."""
        if self.schema is None or self.is_failing:
            return 1
        return self.pace.tasks_a_slot(self._plan.batch_size)

    @property
    def staged_items(self) -> int:
        """Items of open batches that are finished."""
        return sum(batch.staged_items for batch in self._open.values())

    @property
    def suspect_items(self) -> int:
        """Items that wait to be tried apart from others."""
        return self._suspects.count_items()

    def reopen(self, left: BatchLeft) -> None:
        """Take a published batch up again. It is done to its end, whatever the limit is."""
        items = self._plan.batch(left.number).items
        self.pace.items_left += items
        self._begin(left, items)

    def next_task(self) -> tuple[int, Task] | None:
        """The next task and its number, or None while there is nothing to hand out."""
        self.is_held_up = False
        if self._is_closing:
            return self._hand_out(self._next_seal())
        if self._whole is None:
            self._whole = set(self._open_whole())
        found: tuple[OpenBatch, Task, Range | None] | None = None
        if self.is_settling:
            found = self._next_seal()
            if found is None:
                return None
        elif not (self._suspects or self._handed_out.has_suspects):
            # A batch that was opened just now may be all staged: then it only has to be sealed.
            found = self._next_seal() or self._next_work() or self._next_seal()
        return self._hand_out(found or self._next_suspect())

    def close(self) -> None:
        """The run has decided to stop: no item is handed out any more. Batches that are still
        sealed were published and rejected. What failed in them is to be quarantined."""
        self._is_closing = True

    def _hand_out(
        self, found: tuple[OpenBatch, Task, Range | None] | None
    ) -> tuple[int, Task] | None:
        if found is None:
            return None
        batch, task, work = found
        return self._handed_out.add(batch, work), task

    def is_suspect(self, task_id: int) -> bool:
        """Whether the task is of items that may have ended a worker or a whole run."""
        return self._handed_out.is_suspect(task_id)

    def _next_seal(self) -> tuple[OpenBatch, Task, None] | None:
        for batch in self._open.values():
            if not batch.is_finished:
                if self.schema is None:
                    return None
                continue
            if self.schema is None and batch.is_rowless:
                continue
            if self._is_closing and not batch.is_reopened:
                continue
            batch.is_sealing = True
            batch.chunks.sort(key=lambda chunk: chunk.start)
            task = Seal(
                batch=batch.number,
                chunks=tuple(batch.chunks),
                schema=self.schema,
                is_reopened=batch.is_reopened,
            )
            return batch, task, None
        return None

    def _next_suspect(self) -> tuple[OpenBatch, Task, Range] | None:
        if self._suspects and not self._may_go_on(-1):
            return None
        found = self._suspects.take(self._handed_out.list_work())
        return self._give(*found) if found is not None else None

    def _next_work(self) -> tuple[OpenBatch, Task, Range] | None:
        batch = self._find_todo()
        if batch is None:
            return None
        first_item = self._plan.batch(batch.number).first_item
        if not self._may_go_on(first_item + batch.todo[0].start):
            return None
        size = self._range_items or cut_evenly(batch.todo[0], self.pace.items_a_task)
        return self._give(batch, batch.take_range(size, unit_items=self._unit_items))

    def _may_go_on(self, item: int) -> bool:
        """Whether this item of the plan may be begun beside those in hand. If not, `is_held_up`
        says so."""
        self.is_held_up = not self.may_begin(self._handed_out.count_work(), item)
        return not self.is_held_up

    def _find_todo(self) -> OpenBatch | None:
        """The first batch with items to be done."""
        for batch in self._open.values():
            if batch.todo:
                return batch
        while self._has_room:
            opened = self._open_next()
            if opened is None or opened.todo:
                return opened
        return None

    @property
    def is_settling(self) -> bool:
        """Whether what an earlier run had staged whole is not published yet. No work is handed out
        until it is: else runs that end soon would stage more and more, and publish nothing."""
        first = next(iter(self._open.values()), None)
        return first is not None and first.number in (self._whole or ()) and not first.is_rowless

    def _open_whole(self) -> Iterator[int]:
        """Open the next batches as long as they are staged whole, and the one after them."""
        while self._has_room:
            opened = self._open_next()
            if opened is None or not (opened.sealed or opened.is_finished):
                return
            yield opened.number

    @property
    def _has_room(self) -> bool:
        """Batches without rows wait for the first that has some, however many they are."""
        return sum(not batch.is_rowless for batch in self._open.values()) < OPEN_BATCHES_MAX

    def _give(self, batch: OpenBatch, work: Range) -> tuple[OpenBatch, Task, Range]:
        batch.running += 1
        before = (each for each in self._open.values() if each.number < batch.number)
        task = Prepare(
            batch=batch.number,
            start=work.start,
            stop=work.stop,
            schema=self.schema,
            may_pin=self.schema is None and all(each.is_rowless for each in before),
            condemned=work.condemned,
            is_apart=work.is_apart,
            is_reopened=batch.is_reopened,
            failures_max=self.failures_max,
            heard=self._heard,
        )
        return batch, task, work

    def _open_next(self) -> OpenBatch | None:
        number = next(self._pending, None)
        planned = self._plan.batch(number) if number is not None else None
        if planned is None or (self._limit is not None and planned.first_item >= self._limit):
            self._pending = iter(())
            self.is_exhausted = True
            return None
        within = planned.items if self._limit is None else self._limit - planned.first_item
        return self._begin(self._find_left(planned.number), within)

    def _begin(self, left: BatchLeft, within: int) -> OpenBatch:
        """Begin to do what is left of the batch, of its first items, `within` so many."""
        planned = self._plan.batch(left.number)
        chunks, gaps = choose_cover(left.chunks, planned.items)
        batch = OpenBatch(
            number=planned.number,
            items=planned.items,
            todo=deque(),
            chunks=chunks,
            sealed=left.sealed,
            is_reopened=left.is_reopened,
        )
        self.adopted_items += batch.staged_items - left.kept_items
        self.pace.items_left -= batch.staged_items
        if batch.sealed is None:
            self._add_work(batch, cut_gaps(gaps, within), planned.first_item)
        is_last = not self._open or next(reversed(self._open)) < batch.number
        self._open[batch.number] = batch
        if not is_last:
            self._open = dict(sorted(self._open.items()))
        return batch

    def _add_work(self, batch: OpenBatch, gaps: Iterable[tuple[int, int]], first_item: int) -> None:
        for work in split_blamed(gaps, first_item, self._blame):
            if work.company is None:
                batch.todo.append(work)
            else:
                self._suspects.add(batch, work)

    def begun(self, task_id: int) -> None:
        """All items of a task have been begun."""
        self._handed_out.begin(task_id)

    def took(self, portion: Portion) -> None:
        """Some items of a task that goes on are staged."""
        self._heard += 1
        self._open[portion.batch].chunks.extend(portion.chunks)

    def prepared(self, task_id: int, answer: Prepared) -> None:
        """A chunk came back: perhaps not all that was asked for, the rest is to be done again."""
        batch, work = self._handed_out.end(task_id)
        if work is not None and answer.stop < work.stop:
            batch.todo.appendleft(Range(start=answer.stop, stop=work.stop, is_apart=work.is_apart))
        self.pace.take(answer.stop - answer.start, executed=answer.executed, seconds=answer.seconds)
        if answer.sealed is not None:
            self.sealed(answer.sealed)
        batch.chunks.extend(answer.chunks)

    def sealed(self, answer: Sealed, task_id: int | None = None) -> None:
        if task_id is not None:
            self._handed_out.end(task_id)
        batch = self._open[answer.batch]
        batch.is_sealing = False
        batch.sealed = answer

    def unsealable(self, task_id: int, answer: Unsealable) -> None:
        """Staged chunks turned out damaged: their items are done again. Or there are no rows
        yet."""
        batch, _ = self._handed_out.end(task_id)
        batch.is_rowless = batch.is_rowless or answer.is_rowless
        for chunk in answer.damaged:
            batch.chunks.remove(chunk)
            (self._whole or set()).discard(batch.number)
            batch.todo.extend(Range(start=start, stop=stop) for start, stop in chunk.ranges())
            self.adopted_items -= chunk.items

    def put_back(self, task_id: int) -> None:
        """A worker died with no item in hand: its task is done again."""
        batch, work = self._handed_out.end(task_id)
        if work is None:
            return
        if work.company:
            self._suspects.add(batch, work, is_first=True)
        else:
            batch.todo.appendleft(work)

    def lose(self, task_id: int, failure: Callable[[int, int], Failure]) -> None:
        """A machine is gone that had begun the task (decision 0131)."""
        batch, work = self._handed_out.end(task_id)
        if work is None:
            return
        put_back_lost(batch, work, self._unit_items or 1, failure)

    def died(self, task_id: int, item: int, failure: Callable[[int, int], Failure]) -> None:
        """A worker died with item number `item` of the plan in hand. What came before it is
        done again; the item itself is tried alone, and is quarantined when that kills again:
        `failure` makes the record, from the item's number in the batch and the number of
        tries."""
        batch, work = self._handed_out.end(task_id)
        if work is None:
            return
        put_back_dead(batch, work, self._find_unit(batch, work, item), self._suspects, failure)

    def timed_out(
        self, task_id: int, item: int, tries: int, failure: Callable[[int, int], Failure]
    ) -> None:
        """An item took too long and its worker was killed; it is tried `tries` times in all."""
        batch, work = self._handed_out.end(task_id)
        if work is None:
            return
        put_back_overdue(batch, work, self._find_unit(batch, work, item), tries, failure)

    def _find_unit(self, batch: OpenBatch, work: Range, item: int) -> Interrupted:
        start = min(
            max(item - self._plan.batch(batch.number).first_item, work.start), work.stop - 1
        )
        is_one = self._unit_items is None or work.is_apart
        return Interrupted(start, 1 if is_one else work.stop - start)

    def pin(self, schema: bytes) -> None:
        self.schema = schema
        for batch in self._open.values():
            batch.is_rowless = False

    def find_unpinned(self) -> bool:
        """Whether all that is left are finished batches without rows, so that nothing pins a
        schema."""
        return (
            self.schema is None
            and self.is_exhausted
            and not self.outstanding
            and bool(self._open)
            and all(batch.is_rowless for batch in self._open.values())
        )

    def take_ready(self) -> list[tuple[Sealed, list[StagedChunk]]]:
        """Sealed batches that may be published now, those before which no batch is open, and the
        chunks they were made from."""
        ready = []
        while self._open:
            number, batch = next(iter(self._open.items()))
            if batch.sealed is None:
                break
            ready.append((batch.sealed, batch.chunks))
            del self._open[number]
        return ready
