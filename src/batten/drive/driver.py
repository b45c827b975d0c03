"""The driver: hands tasks to workers, takes their answers, publishes in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import pyarrow as pa

from batten.deliver.delivering import Deliverer
from batten.drive.handing_out.flight import find_blame
from batten.drive.handing_out.schedule import Schedule
from batten.drive.items_so_far import ItemsSoFar
from batten.drive.left_to_do import LeftToDo, count_taken_over
from batten.drive.preparing.pinning import load_schema, serialize, store_schema
from batten.drive.publishing.part_sizes import FirstParts
from batten.drive.publishing.published_items import PublishedItems
from batten.drive.publishing.publishers import make_publisher
from batten.drive.publishing.waiting import Waiting
from batten.drive.reopened_batches import ReopenedBatches
from batten.drive.showing import Showing
from batten.drive.staged_before import StagedBefore
from batten.drive.stopping.draining import Draining
from batten.drive.stopping.failure_budget import Failures, answer_of, as_failure
from batten.drive.stopping.spending import Spending
from batten.drive.to_do import ToDo
from batten.errors import BattenError
from batten.executors.base import Died, Event, Lost, TimedOut, Told
from batten.plan.plan import Plan
from batten.run.context import Context
from batten.run.disk_room import RoomWatch
from batten.run.found.found_dataset import FirstRowsError, FoundDataset
from batten.run.telling.recording import RunRecord
from batten.storage.changing.publishing import delete
from batten.work.bench import Bench
from batten.work.calling.most_fail import Streak, StreakVerdict
from batten.work.tasks import (
    Begun,
    Noted,
    Portion,
    Postponed,
    Prepared,
    Sealed,
    Unsealable,
    Waits,
)
from batten.work.workforce import Workforce, allot

if TYPE_CHECKING:
    from batten.anywhere.team import Team
    from batten.sinks.base import RejectedError

DELIVER_SECONDS = 0.1
POLL_SECONDS = 0.2


class Driver:
    """Runs what is pending of one dataset, under its lock. Single-threaded."""

    def __init__(
        self,
        context: Context,
        dataset: FoundDataset,
        plan: Plan,
        record: RunRecord,
        deliverer: Deliverer,
        room: RoomWatch,
    ) -> None:
        self._context = context
        self._deliverer = deliverer
        self._room = room
        self._dataset = dataset
        self._plan = plan
        self._record = record
        self._storage = context.storage
        self._layout = context.layout
        self._publisher = make_publisher(context, dataset)
        self._failures = Failures(context, plan, dataset.accounts.quarantined)
        self._published_items = PublishedItems(dataset.observation.claims)
        taken_over = count_taken_over(context, dataset, plan)
        self._streak = Streak(
            is_watched=context.pipeline.settings.stop_when is not None,
            items=plan.items - self._published_items.items - taken_over,
        )
        self._published: set[int] = set()
        self._waiting = Waiting(context, self._publisher, self._streak)
        self._first_parts = FirstParts(context, dataset, plan)
        self._draining = Draining(context, record)
        self._so_far = ItemsSoFar(
            failures=self._failures, streak=self._streak, published=self._published_items
        )
        self._shown = Showing(context, plan, self._so_far, self._draining)
        self._spending = Spending(context)
        self._team: Team | None = None
        self._postponed = ""

    def drive(self, to_do: ToDo, rejected: Mapping[int, RejectedError]) -> None:
        """Do all of it; returns when it is published and delivered. `rejected` are published
        batches that a destination did not take."""
        context, pipeline = self._context, self._context.pipeline
        found = self._dataset
        self._workforce = workforce = Workforce(
            context, self._plan, fingerprint=found.fingerprint, work=found.work
        )
        is_in_doubt = self._record.inherit_doubt()
        wants_again = context.options.should_retry_quarantined or is_in_doubt
        tries_failed_again = wants_again or pipeline.settings.on_error != "quarantine"
        self._known_to_fail = to_do.known_to_fail
        if context.may_be_joined:
            from batten.drive.together.team_of_run import form_team

            self._team = form_team(context, workforce.executor, found, self._plan)
            workforce.executor = self._team
        self._bench = Bench(workforce.job)
        schema = load_schema(context, workforce.job.declared)
        self._staged_before = StagedBefore(context, self._dataset, self._plan, self._bench, schema)
        self._staged_before.leaves_failures_out = tries_failed_again
        self._make_schedule(to_do.pending, workforce.executor.slots, schema)
        self._spending.begin(self._dataset.observation)
        try:
            with context.timed("prepare"):
                if pipeline.find_unit_items(self._plan.batch_size) is not None:
                    # Arrow's own conversion, which `map_batches` needs, imports pandas where it is
                    # installed: once, before workers are forked, rather than in each of them.
                    pa.array([None])
                workforce.start()
                again = self._again = self._make_again(to_do)
                again.reopen(workforce.executor, drain=self._drain_if_asked)
                again.make_anew(rejected, self._published)
                self._loop()
        finally:
            is_noted = self._spending.end()
            if not is_noted:
                # The marks stay, and are to blame no item. Workers elsewhere may not hear of it.
                with suppress(BattenError):
                    workforce.executor.drain()
            workforce.stop()
            for event in workforce.executor.wait(0):
                if isinstance(event, Told) and isinstance(event.value, Portion):
                    context.executed_items += event.value.executed
            context.adopted_items += self._schedule.adopted_items
            if is_noted:
                with suppress(Exception):
                    delete(self._storage, self._layout.in_flight(context.run))

    def _make_schedule(self, pending: Sequence[int], slots: int, schema: bytes | None) -> None:
        context = self._context
        left = LeftToDo(context, self._staged_before, self._bench, self._so_far)
        self._schedule = Schedule(
            self._plan,
            pending,
            find_left=left.find,
            schema=schema,
            allotment=allot(context, self._plan, slots),
            blame=find_blame(self._storage, self._layout, self._plan),
        )
        self._schedule.may_begin = self._spending.may_begin
        if self._team is not None:
            self._schedule.demand.has_idle = self._team.has_idle

    def _make_again(self, to_do: ToDo) -> ReopenedBatches:
        return ReopenedBatches(
            context=self._context,
            plan=self._plan,
            bench=self._bench,
            schedule=self._schedule,
            publisher=self._publisher,
            deliverer=self._deliverer,
            staged_before=self._staged_before,
            so_far=self._so_far,
            to_do=to_do,
        )

    def _loop(self) -> None:
        while True:
            if self._streak.verdict is not None:
                self._stop_failing(self._streak.verdict)
            is_stopping = self._draining.is_asked
            if not is_stopping:
                self._dispatch()
            is_over = not self._schedule.outstanding
            # What is taken now may be what other work waited for, which may tell whose failure
            # it is. So what is in doubt is published when nothing was taken any more.
            is_freed = self._take_ready()
            published = self._publish(
                is_last=self._schedule.open.is_settling or is_over,
                in_doubt=is_over and not is_freed and not is_stopping,
            )
            if self._deliver(published):
                continue
            if self._schedule.find_unpinned():
                earlier = self._context.earlier
                self._pin(serialize(pa.schema([]) if earlier is None else earlier.schema))
                continue
            if is_stopping:
                self._drain()
            if self._postponed:
                self._end_in_hand()
                self._context.refuse_to_wait(self._postponed)
            is_lacking = self._deliverer.is_lacking
            if not self._schedule.outstanding:
                is_moving = is_freed or is_lacking or published
                if self._schedule.is_held_up and not is_moving:
                    self._end_in_hand()
                    self._spending.refuse_more()
                if self._schedule.is_exhausted and not is_moving:
                    self._shown.show(self._schedule, self._waiting, is_last=True)
                    return
                continue
            self._take_all(self._workforce.wait(0 if is_lacking else POLL_SECONDS))
            self._shown.show(self._schedule, self._waiting)

    def _dispatch(self) -> None:
        schedule, slots = self._schedule, self._workforce.executor.slots
        schedule.demand.is_failing = self._streak.is_failing
        machines = self._context.sharing.machines = self._team.machines if self._team else 1
        schedule.demand.resize(slots, machines)
        schedule.failures_max = self._streak.allow(slots)
        while schedule.wants_task:
            found = schedule.next_task()
            if found is None:
                return
            self._waiting.note_begun(found[1].batch)
            self._workforce.submit(*found, in_new_process=schedule.is_suspect(found[0]))

    def _drain_if_asked(self) -> None:
        if self._draining.is_asked:
            self._drain()

    def _drain(self) -> None:
        """A signal asked to stop."""
        self._draining.tell(self._schedule.outstanding)
        self._end_in_hand()
        self._draining.end()

    def _stop_failing(self, verdict: StreakVerdict) -> NoReturn:
        """The job fails, not its items. What failed is to be tried again, so it does not count as
        finished."""
        self._record.note_doubt()
        self._schedule.close()
        self._dispatch()
        self._end_in_hand()
        stopped = self._failures.explain(verdict)
        with suppress(BattenError):  # The next run does it as well.
            self._staged_before.clear_failures(self._schedule.schema)
        raise stopped

    def _end_in_hand(self) -> None:
        """No new work; what is in hand may end, and is published where nothing is in doubt."""
        self._workforce.executor.drain()
        self._draining.begin()
        while self._schedule.outstanding and (left := self._draining.seconds_left):
            self._take_all(self._workforce.wait(min(POLL_SECONDS, left)))
            self._shown.show(self._schedule, self._waiting)
        self._take_ready()
        self._publish(is_last=True)

    def _take_all(self, events: Sequence[Event]) -> None:
        self._spending.hear(events)
        for event in events:
            self._take(event)
        for event in self._workforce.look():
            if isinstance(event, Died):
                self._failures.tell_death(event)
            answer_of(event)

    def _take_loss(self, event: Died | Lost | TimedOut) -> None:
        """Of a task that has no answer."""
        if isinstance(event, Died):
            self._failures.tell_death(event)
            self._shown.apart.take(event)
            if event.item is None:
                self._schedule.cut_off.put_back(event.task_id)
                return
            self._schedule.cut_off.died(event.task_id, event.item, partial(as_failure, event))
            return
        if isinstance(event, Lost):
            self._context.progress.note(f"A worker is gone: {event.cause}. Its work is done again.")
            if event.was_begun:
                self._schedule.cut_off.lose(event.task_id, partial(as_failure, event))
            else:
                self._schedule.cut_off.put_back(event.task_id)
            return
        if isinstance(event, TimedOut):
            tries = self._context.pipeline.tries_max
            failure = partial(as_failure, event)
            self._schedule.cut_off.timed_out(event.task_id, event.item, tries, failure)

    def _take(self, event: Event) -> None:
        if isinstance(event, Died | Lost | TimedOut):
            self._take_loss(event)
            return
        answer = answer_of(event)
        self._failures.tell_progress()
        if isinstance(answer, Prepared):
            self._schedule.prepared(event.task_id, answer)
            self._take_outcomes(answer)
            if answer.sealed is not None:
                self._take_sealed(answer.sealed)
        elif isinstance(answer, Portion):
            self._schedule.took(answer)
            self._take_outcomes(answer)
        elif isinstance(answer, Waits | Noted | Postponed):
            self._hear(answer)
        elif isinstance(answer, Begun):
            self._schedule.begun(event.task_id)
        elif isinstance(answer, Sealed):
            self._schedule.sealed(answer, event.task_id)
            self._take_sealed(answer)
        elif isinstance(answer, Unsealable):
            self._schedule.unsealable(event.task_id, answer)
            self._failures.tell_unsealable(answer)

    def _hear(self, word: Waits | Noted | Postponed) -> None:
        if isinstance(word, Waits):
            self._shown.waits = word.told
        elif isinstance(word, Noted):
            self._context.progress.note(word.text)
        else:
            self._postponed = word.text

    def _take_outcomes(self, answer: Prepared | Portion) -> None:
        self._context.executed_items += answer.executed
        self._spending.take_answer(answer.executed)
        if answer.failures:
            self._draining.note_failure()
        self._failures.tell(answer.batch, answer.failures, answer.first_failure)
        # An item that failed before and is tried again tells nothing of the job.
        if answer.batch not in self._known_to_fail:
            self._streak.take(
                answer.batch, answer.ended, answer.first_failure, is_settled=answer.is_fitted
            )

    def _take_sealed(self, sealed: Sealed) -> None:
        self._pin(sealed.schema)
        self._failures.settle(sealed)
        if sealed.ended and sealed.batch not in self._known_to_fail:
            self._draining.note_failure()
            self._streak.tell_anew(sealed.batch, sealed.ended, sealed.first_misfit)
        self._streak.settle(sealed.batch)

    def _pin(self, schema: bytes | None) -> None:
        """Make the schema that the first rows pinned durable, before any part that has it."""
        if schema is None or self._schedule.schema is not None:
            return
        pinned = pa.ipc.read_schema(pa.py_buffer(schema))
        if pinned.names and self._dataset.observation.parts:
            raise FirstRowsError
        self._schedule.pin(store_schema(self._context, pinned))

    def _take_ready(self) -> bool:
        """Let batches wait to be published; whether there were any."""
        ready = self._schedule.open.take_ready()
        for sealed, chunks in ready:
            leftovers = [self._layout.staged_chunk(chunk) for chunk in chunks]
            leftovers += self._staged_before.take_leftovers(sealed.batch)
            self._waiting.add(sealed, leftovers)
        return bool(ready)

    def _publish(self, *, is_last: bool, in_doubt: bool = False) -> list[int]:
        """The batches that were published now."""
        published = self._waiting.publish(
            is_last=is_last, in_doubt=in_doubt, before=self._spending.sync
        )
        self._room.take([sealed.batch for sealed in published])
        self._published.update(sealed.batch for sealed in published)
        self._first_parts.note(published)
        for sealed in published:
            self._published_items.add(sealed.described.outcomes)
        return [sealed.batch for sealed in published]

    def _deliver(self, published: Sequence[int]) -> bool:
        """For a moment, so that workers do not wait for work meanwhile. Whether something is to be
        made anew."""
        rejected = self._deliverer.take(published, seconds=DELIVER_SECONDS)
        self._again.make_anew(rejected, self._published)
        return bool(rejected)
