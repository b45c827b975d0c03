"""The bench for functions that await: thousands of items in hand, staged as they end.

Items are begun in the order of the plan, whenever a place is free, however long some of those
before them take. What ended is staged about every half second, or as soon as a few answers wait
where they come slowly, by another thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from batten.executors.asynchronous import AsyncMark, cut_off, is_cut_off
from batten.executors.marks import SlotMark
from batten.jobs.batch_api import BatchApi
from batten.model.disk.items.slowest import SECONDS_LEAST
from batten.plan.plan import PlanBatch
from batten.rows.fitting import Unfit
from batten.rows.returned_rows import as_row
from batten.sources.base import Gone, ItemsWanted, Unavailable, read_planned
from batten.work.bench import Bench
from batten.work.calling.async_calls import AsyncChain, uncancel
from batten.work.calling.calls import Failure, ItemFailedError, describe_error
from batten.work.calling.most_fail import Streak, name_kind, tell_ended
from batten.work.calling.units import failure_of
from batten.work.item_runner import Done
from batten.work.staged.staging_pace import StagingPace
from batten.work.submitting.submitter import Submitter
from batten.work.tasks import Answer, Begun, Portion, Prepare, Prepared, Task, Waits, WorkerJob
from batten.work.unfitting_rows import fail_unfitting, without_key
from batten.work.usage import Teller

STAGE_SECONDS = 0.5
"""Items that ended wait this long for others, to be staged together."""

WAITS_SECONDS = 0.5
"""Between two looks at what calls wait for."""


@dataclass(kw_only=True)
class _Range:
    """A range of items: what ended and is not staged yet, what is in hand, and what was given up
    and is `left`.

    `news` is set when something ended; `is_due` when it is to be staged at once; `is_over` when all
    has ended, or the run must end for `error`."""

    task: Prepare
    batch: PlanBatch
    keys: Sequence[Any]
    ended: list[Done] = field(default_factory=list)
    in_hand: dict[asyncio.Task[None], SlotMark] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    is_begun: bool = False
    is_told: bool = False
    error: BaseException | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    is_due: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: asyncio.Event = field(default_factory=asyncio.Event)

    def check_over(self) -> None:
        if self.error is not None or (self.is_begun and not self.in_hand):
            self.is_over.set()
            self.is_due.set()
        self.news.set()


class AsyncBench:
    """What a `Bench` does, for functions that await. Lives in the event loop."""

    def __init__(self, job: WorkerJob) -> None:
        self._job = job
        self._bench = Bench(job)
        self._files = job.make_item_files()
        self._journal = job.make_journal()
        self._turn = asyncio.Lock()
        self._chain: AsyncChain | None = None
        self._ranges: list[_Range] = []
        self._pace = StagingPace()
        self._room = asyncio.Event()
        self._portions = self._to_hear = 0
        self._watch_anew()

    def __reduce__(self) -> tuple[type[AsyncBench], tuple[WorkerJob]]:
        """What it has in hand is of this process."""
        return AsyncBench, (self._job,)

    def _watch_anew(self) -> None:
        """The driver hears of what ended a while later; so it is judged here as well, and no item
        is begun after those that decide."""
        self._streak = Streak(is_watched=self._job.is_watched, items=self._job.plan.items)
        self._told = asyncio.Event()

    async def work(self, task: Task, mark: AsyncMark) -> Answer:
        if isinstance(task, Prepare) and task.condemned is None:
            return await self._prepare(task, mark)
        return await mark.aside(self._bench.work, task, mark)

    async def _prepare(self, task: Prepare, mark: AsyncMark) -> Prepared:
        batch = self._job.plan.batch(task.batch)
        wanted = self._job.plan.wanted(batch, task.start, task.stop)
        own = _Range(task=task, batch=batch, keys=_keys(wanted))
        self._ranges.append(own)
        staging = asyncio.create_task(self._stage_regularly(own, mark))
        try:
            async with self._turn:
                stop = await self._begin_items(own, wanted, mark)
            own.is_begun = True
            own.check_over()
            if not self._must_end(own):
                mark.tell(Begun())
            await staging
            if self._streak.verdict is not None:
                await self._wait_for_others(own)
        except BaseException:
            staging.cancel()
            for each in own.in_hand:
                cut_off(each)
            # The loop is about to end, so it may be held up.
            if own.ended:
                mark.tell(self._stage(own, own.ended))
            raise
        finally:
            self._ranges.remove(own)
        left = tuple(sorted(own.left))
        return Prepared(batch=task.batch, start=task.start, stop=stop, left=left)

    async def _begin_items(self, own: _Range, wanted: ItemsWanted, mark: AsyncMark) -> int:
        """Begin the items of the range as places get free; the number of the first that was not
        begun, since the run is to end."""
        if self._chain is None:
            self._chain = AsyncChain(
                self._job.steps,
                mark.draining,
                partial(self._make_submitter, mark),
                self._job.servers,
                self._job.sharing,
            )
            mark.at_end(self._chain.close)
            self._reader = self._job.source.open()
            self._watching = asyncio.create_task(self._watch(mark.draining))
            self._telling = asyncio.create_task(self._tell_waits(self._chain, mark.tell))
        end = partial(self._end, own, mark)
        for number, item in enumerate(read_planned(self._reader, wanted), own.task.start):
            if isinstance(item, Gone):
                own.ended.append(Done(start=number, stop=number + 1))
                self._pace.take_free()
                own.news.set()
                continue
            place = await mark.take_place()
            await self._wait_for_room(own, mark)
            if mark.draining.is_set() or own.error is not None or self._must_end(own):
                mark.leave_place(place)
                return number
            doing = asyncio.create_task(self._do(own, number, item, place))
            own.in_hand[doing] = place
            doing.add_done_callback(end)
        return own.task.stop

    async def _wait_for_room(self, own: _Range, mark: AsyncMark) -> None:
        """Until a kill would cost no more than it may if one more call were in flight."""
        while own.error is None and not self._pace.has_room(self._count_in_hand(), mark.places):
            if mark.draining.is_set() or self._must_end(own):
                return
            self._room.clear()
            await self._room.wait()

    def _make_submitter(self, mark: AsyncMark, api: BatchApi) -> Submitter:
        return Submitter(self._job, api, mark.draining, self._count_in_hand, mark.tell)

    def _count_in_hand(self) -> int:
        return sum(len(own.in_hand) for own in self._ranges)

    def _must_end(self, own: _Range) -> bool:
        """Whether the run may be about to stop: so many failed that it would, and the driver has
        not heard of all these, or had not when it handed out the range."""
        return self._streak.verdict is not None or own.task.heard < self._to_hear

    async def _wait_for_others(self, own: _Range) -> None:
        """Until the driver was told of all that ended in any range: before that it must not take
        this one for done, and hand out another. Should it judge otherwise, things go on."""
        own.is_told, told = True, self._told
        if all(each.is_told for each in self._ranges):
            self._to_hear = self._portions
            self._watch_anew()
            told.set()
        await told.wait()

    def _take_end(
        self, own: _Range, number: int, made: list[dict[str, Any]] | Failure, seconds: float
    ) -> None:
        done = Done(start=number, stop=number + 1)
        if seconds > SECONDS_LEAST:
            done.slowest = ((number, round(seconds * 1000)),)
        if isinstance(made, Failure):
            done.failures = [made]
        else:
            done.rows, done.owners, clashing = without_key(
                made, [number] * len(made), own.keys, own.task.start, self._job.key_column
            )
            done.failures = fail_unfitting(clashing)
        own.ended.append(done)
        self._pace.take(asyncio.get_running_loop().time())
        self._room.set()
        if self._pace.is_due:
            for each in self._ranges:
                each.is_due.set()
        if own.task.is_reopened:
            return
        failure = done.failures[0] if done.failures else None
        kind = name_kind(failure) if failure is not None else ""
        self._streak.take(own.task.batch, ((1, kind),), failure)

    async def _do(self, own: _Range, number: int, item: Any, place: SlotMark) -> None:
        chain = self._chain
        if chain is None:
            return
        files, hold = self._files, None
        if files is not None:
            hold = files.make_hold()
        in_plan = own.batch.first_item + number
        teller = Teller(self._journal)
        teller.item = in_plan
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            if isinstance(item, Unavailable):
                raise ItemFailedError(*describe_error(item.error), 1)
            with teller.working():
                made = await chain.run(item, in_plan, place, hold)
            if files is not None and hold is not None:
                key = own.keys[number - own.task.start]
                made = files.name(own.task.batch, key, made, hold)
            ended: list[dict[str, Any]] | Failure = [as_row(value) for value in made]
            self._take_end(own, number, ended, clock() - began)
        except ItemFailedError as failed:
            self._take_end(own, number, failed.at(number), clock() - began)
        except Unfit as error:
            self._take_end(own, number, failure_of(error, number), clock() - began)
        except asyncio.CancelledError:
            if is_cut_off():
                own.left.append(number)
                raise
            cancelled = ItemFailedError(*describe_error(uncancel()), 1).at(number)
            self._take_end(own, number, cancelled, clock() - began)
        except BaseException as error:  # noqa: BLE001 - raised again by who stages
            own.error = error
            self._room.set()
        finally:
            if hold is not None:
                hold.release()

    def _end(self, own: _Range, mark: AsyncMark, done: asyncio.Task[None]) -> None:
        mark.leave_place(own.in_hand.pop(done))
        self._room.set()
        own.check_over()

    async def _watch(self, draining: asyncio.Event) -> None:
        """When no further call is to be begun, give up what waits to make one."""
        await draining.wait()
        self._room.set()
        for own in self._ranges:
            for doing, place in own.in_hand.items():
                if place.is_idle:
                    cut_off(doing)

    async def _tell_waits(self, chain: AsyncChain, tell: Callable[[Waits], None]) -> None:
        """Until the loop ends. The driver shows it, and does nothing else with it."""
        told: tuple[str, ...] = ()
        while True:
            await asyncio.sleep(WAITS_SECONDS)
            waits = tuple(chain.list_waits())
            if waits != told:
                tell(Waits(told=waits))
                told = waits

    async def _stage_regularly(self, own: _Range, mark: AsyncMark) -> None:
        """If that fails, no further item is begun: its answer would be lost."""
        try:
            while not own.is_over.is_set() or own.ended:
                await own.news.wait()
                own.news.clear()
                if not (self._pace.is_due or own.is_over.is_set()):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(STAGE_SECONDS):
                            await own.is_due.wait()
                own.is_due.clear()
                if own.error is not None:
                    raise own.error
                if own.ended:
                    ended, own.ended = own.ended, []
                    answers = len(ended)
                    self._pace.put_aside(answers)
                    portion = await mark.aside(self._stage, own, ended)
                    self._pace.is_aside(answers)
                    self._room.set()
                    self._portions += 1
                    mark.tell(portion)
        except Exception as error:
            own.error = error
            self._room.set()
            raise

    def _stage(self, own: _Range, ended: list[Done]) -> Portion:
        """Put aside what ended."""
        if self._files is not None:
            self._files.sync()
        in_order = [done.start for done in ended]
        ended.sort(key=lambda done: done.start)
        chunks = self._bench.put_aside(own.batch, own.task.schema, ended)
        failures = [failure for done in ended for failure in done.failures]
        return Portion(
            batch=own.task.batch,
            chunks=chunks,
            executed=len(ended) - len(self._job.plan.find_gone(own.batch).intersection(in_order)),
            failures=len(failures),
            first_failure=failures[0] if failures else None,
            ended=tell_ended(in_order, failures),
            is_fitted=own.task.schema is not None,
        )


def _keys(wanted: ItemsWanted) -> Sequence[Any]:
    if wanted.keys is not None:
        return wanted.keys
    return range(wanted.first_ordinal, wanted.first_ordinal + wanted.count)
