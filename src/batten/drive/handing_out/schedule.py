"""Which work comes next: batches in the order of the plan, cut into pieces.

A piece takes about a quarter of a second. What was staged before is taken over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from batten.drive.handing_out.cut_off import CutOff
from batten.drive.handing_out.demand import Demand
from batten.drive.handing_out.flight import Blame
from batten.drive.handing_out.handed_out import HandedOut
from batten.drive.handing_out.open_batch import BatchLeft, OpenBatch, Range
from batten.drive.handing_out.open_batches import OpenBatches
from batten.drive.handing_out.opening import Opening
from batten.drive.handing_out.suspects import Suspects
from batten.plan.plan import Plan
from batten.work.tasks import Portion, Prepare, Prepared, Seal, Sealed, Task, Unsealable
from batten.work.work_sizes import Allotment

Found = tuple[OpenBatch, Task, Range | None]
"""A task to be handed out; one without a range seals its batch."""


class Schedule:
    """Hands out tasks and takes answers. Knows no time but what answers tell, and no storage.

    `open` are the batches at work, `demand` says how much is wanted, and `cut_off` takes back what
    has no answer. `may_begin` says beside so many tasks in hand whether one more may be, of which
    item; if not, there is work `is_held_up`."""

    def __init__(
        self,
        plan: Plan,
        pending: Sequence[int],
        *,
        find_left: Callable[[int], BatchLeft],
        schema: bytes | None,
        allotment: Allotment,
        blame: Blame,
    ) -> None:
        self._plan = plan
        self._unit_items = allotment.unit_items
        self._suspects = Suspects(blame)
        self._handed_out = HandedOut()
        items_left = sum(plan.batch(number).items for number in pending)
        self.demand = Demand(allotment, batch_items=plan.batch_size, items_left=items_left)
        self.cut_off = CutOff(plan, self._handed_out, self._suspects, allotment.unit_items)
        self.open = OpenBatches(
            Opening(
                plan,
                pending,
                find_left=find_left,
                limit=allotment.limit,
                suspects=self._suspects,
                pace=self.demand.pace,
            )
        )
        self.schema = schema
        self.failures_max: int | None = None
        self._heard = 0
        self.may_begin: Callable[[int, int], bool] = lambda in_hand, item: True
        self.is_held_up = False
        self._is_closing = False

    @property
    def outstanding(self) -> int:
        return len(self._handed_out)

    @property
    def wants_task(self) -> bool:
        """Whether a further task should be handed out."""
        has_schema = self.schema is not None
        return self._is_closing or self.demand.wants_task(self._handed_out, has_schema=has_schema)

    @property
    def is_exhausted(self) -> bool:
        """Whether all batches have been opened. Until then there is more to do, even if nothing can
        be handed out: open batches must be published first."""
        return self.open.opening.is_exhausted

    @property
    def adopted_items(self) -> int:
        """Items that were staged before."""
        return self.open.opening.adopted_items

    @property
    def suspect_items(self) -> int:
        """Items that wait to be tried apart from others."""
        return self._suspects.count_items()

    def next_task(self) -> tuple[int, Task] | None:
        """The next task and its number, or None while there is nothing to hand out."""
        self.is_held_up = False
        if self._is_closing:
            return self._hand_out(self._next_seal())
        self.open.open_whole()
        found: Found | None = None
        if self.open.is_settling:
            found = self._next_seal()
            if found is None:
                return None
        elif not (self._suspects or self._handed_out.has_suspects):
            # Batches are taken up in order, so behind the first of which nothing was handed out few
            # can be sealed: these are looked for where there is no other work. One that was opened
            # just now may be all staged.
            found = self._next_seal(is_near=True) or self._next_work() or self._next_seal()
        return self._hand_out(found or self._next_suspect())

    def close(self) -> None:
        """The run has decided to stop: no item is handed out any more. Batches that are still
        sealed were published and rejected. What failed in them is to be quarantined."""
        self._is_closing = True

    def _hand_out(self, found: Found | None) -> tuple[int, Task] | None:
        if found is None:
            return None
        batch, task, work = found
        return self._handed_out.add(batch, work), task

    def is_suspect(self, task_id: int) -> bool:
        """Whether the task is of items that may have ended a worker or a whole run."""
        return self._handed_out.is_suspect(task_id)

    def _next_seal(self, *, is_near: bool = False) -> Found | None:
        for batch in self.open:
            if not batch.is_finished:
                if self.schema is None or (is_near and batch.todo and not batch.running):
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

    def _next_suspect(self) -> Found | None:
        if self._suspects and not self._may_go_on(-1):
            return None
        found = self._suspects.take(self._handed_out.list_work())
        return self._give(*found) if found is not None else None

    def _next_work(self) -> Found | None:
        batch = self.open.find_todo()
        if batch is None:
            return None
        first_item = self._plan.batch(batch.number).first_item
        if not self._may_go_on(first_item + batch.todo[0].start):
            return None
        size = self.demand.size_piece(batch.todo[0])
        return self._give(batch, batch.take_range(size, unit_items=self._unit_items))

    def _may_go_on(self, item: int) -> bool:
        """Whether this item of the plan may be begun beside those in hand. If not, `is_held_up`
        says so."""
        self.is_held_up = not self.may_begin(self._handed_out.count_work(), item)
        return not self.is_held_up

    def _give(self, batch: OpenBatch, work: Range) -> Found:
        batch.running += 1
        before = (each for each in self.open if each.number < batch.number)
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

    def begun(self, task_id: int) -> None:
        """All items of a task have been begun."""
        self._handed_out.begin(task_id)

    def took(self, portion: Portion) -> None:
        """Some items of a task that goes on are staged."""
        self._heard += 1
        self.open[portion.batch].chunks.extend(portion.chunks)

    def prepared(self, task_id: int, answer: Prepared) -> None:
        """A chunk came back: perhaps not all that was asked for, the rest is to be done again."""
        batch, work = self._handed_out.end(task_id)
        if work is not None and answer.stop < work.stop:
            batch.todo.appendleft(Range(start=answer.stop, stop=work.stop, is_apart=work.is_apart))
        batch.todo.extendleft(Range(start=n, stop=n + 1) for n in reversed(answer.left))
        self.demand.pace.take(
            answer.stop - answer.start, executed=answer.executed, seconds=answer.seconds
        )
        if answer.sealed is not None:
            self.sealed(answer.sealed)
        batch.chunks.extend(answer.chunks)

    def sealed(self, answer: Sealed, task_id: int | None = None) -> None:
        if task_id is not None:
            self._handed_out.end(task_id)
        batch = self.open[answer.batch]
        batch.is_sealing = False
        batch.sealed = answer

    def unsealable(self, task_id: int, answer: Unsealable) -> None:
        """Staged chunks turned out damaged: their items are done again. Or there are no rows
        yet."""
        batch, _ = self._handed_out.end(task_id)
        batch.is_rowless = batch.is_rowless or answer.is_rowless
        for chunk in answer.damaged:
            self.open.redo(batch, chunk)

    def pin(self, schema: bytes) -> None:
        self.schema = schema
        for batch in self.open:
            batch.is_rowless = False

    def find_unpinned(self) -> bool:
        """Whether all that is left are finished batches without rows, so that nothing pins a
        schema."""
        return (
            self.schema is None
            and self.is_exhausted
            and not self.outstanding
            and self.open.are_rowless
        )
