"""Who is given what, and what becomes of items that end their worker or take too long. Workers are
played here: no process, no disk, no clock."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from batten.drive.handing_out.flight import Blame
from batten.drive.handing_out.open_batch import BatchLeft, Range, cut_evenly, left_of
from batten.drive.handing_out.open_batches import OPEN_BATCHES_MAX
from batten.drive.handing_out.schedule import Schedule
from batten.model.disk.records import PartDescription
from batten.model.disk.staged_names import StagedChunk
from batten.plan.plan import Plan
from batten.work.calling.calls import Failure
from batten.work.tasks import (
    Portion,
    Prepare,
    Prepared,
    Reopened,
    Seal,
    Sealed,
    Task,
    Unsealable,
)
from batten.work.work_sizes import Allotment

if TYPE_CHECKING:
    from conftest import MakePlan

NO_BLAME = Blame(condemned={}, suspects={})
SECONDS = 0.05
"""What an item takes."""


def no_files(batch: int) -> BatchLeft:
    return BatchLeft(number=batch)


def chunk(batch: int, start: int, stop: int, digest: str = "d") -> StagedChunk:
    return StagedChunk(batch=batch, start=start, stop=stop, digest=digest)


def seal(batch: int, items: int) -> Sealed:
    return Sealed(
        described=PartDescription(
            batch=batch, items=items, rows=items, outcomes="", keys="", fingerprint=""
        ),
        size=1,
        digest="",
        quarantine_digest="",
        schema=None,
    )


@dataclass
class World:
    """Workers, each with one task in hand. `kills` are items that end their worker, `slow` those
    that take too long; `ends` are those that end their machine, so that nobody can tell which item
    it was. Each for so many tries."""

    plan: Plan
    slots: int = 3
    unit_items: int | None = None
    limit: int | None = None
    blame: Blame = NO_BLAME
    find_left: Callable[[int], BatchLeft] = no_files
    kills: Mapping[int, int] = field(default_factory=dict)
    slow: Mapping[int, int] = field(default_factory=dict)
    ends: Mapping[int, int] = field(default_factory=dict)
    timeout_tries: int = 1
    pending: Sequence[int] | None = None

    def __post_init__(self) -> None:
        self.schedule = Schedule(
            self.plan,
            range(self.plan.batches) if self.pending is None else self.pending,
            find_left=self.find_left,
            schema=b"pinned",
            allotment=Allotment(
                slots=self.slots,
                unit_items=self.unit_items,
                limit=self.limit,
            ),
            blame=self.blame,
        )
        self.running: dict[int, Task] = {}
        self.published: list[int] = []
        self.done: Counter[int] = Counter()
        self.tries: Counter[int] = Counter()
        self.alone: Counter[int] = Counter()
        self.failures: dict[int, Failure] = {}
        self.sizes: list[int] = []
        self.order: list[int] = []

    def hand_out(self) -> None:
        while self.schedule.wants_task:
            found = self.schedule.next_task()
            if found is None:
                return
            number, task = found
            self.running[number] = task
            self.check_company()

    def check_company(self) -> None:
        """Suspects are in hand with suspects only, and with no more than they may be."""
        ranges = self.schedule._handed_out.list_work()
        suspects = [work for work in ranges if work and (work.company is not None or work.deaths)]
        if suspects:
            assert len(suspects) == len(ranges), ranges
            items = sum(work.stop - work.start for work in suspects)
            most = max(work.company or 0 for work in suspects)
            assert items <= most or len(suspects) == 1, suspects

    def run(self, pick: random.Random | None = None) -> None:
        """To the end, whoever ends first."""
        for _ in range(100_000):
            self.hand_out()
            ready = [sealed.batch for sealed, _ in self.schedule.open.take_ready()]
            self.published += ready
            if not self.running:
                if self.schedule.is_exhausted and not ready:
                    return
                continue
            numbers = sorted(self.running)
            self.end(pick.choice(numbers) if pick is not None else numbers[0])
        raise AssertionError("it does not end")

    def end(self, number: int) -> None:
        task = self.running.pop(number)
        if isinstance(task, Seal):
            covered = sorted(
                n for each in task.chunks for a, b in each.ranges() for n in range(a, b)
            )
            assert covered == list(range(self.plan.batch(task.batch).items))
            self.schedule.sealed(seal(task.batch, len(covered)), number)
            return
        assert isinstance(task, Prepare)
        first = self.plan.batch(task.batch).first_item
        items = range(first + task.start, first + task.stop)
        if task.condemned is not None:
            self.failures[items[0]] = task.condemned
            self.finish(number, task, executed=0)
            return
        self.sizes.append(len(items))
        for item in items:
            self.tries[item] += 1
            self.order.append(item)
            self.alone[item] += len(items) == 1 and not self.running
            if self.tries[item] <= self.kills.get(item, 0):
                self.schedule.cut_off.died(number, item, self.fail("died"))
                return
            if self.tries[item] <= self.slow.get(item, 0):
                self.schedule.cut_off.timed_out(number, item, self.timeout_tries, self.fail("slow"))
                return
        if any(self.tries[item] <= self.ends.get(item, 0) for item in items):
            self.schedule.cut_off.lose(number, self.fail("gone"))
            return
        self.done.update(items)
        self.finish(number, task, executed=len(items))

    def fail(self, error: str) -> Callable[[int, int], Failure]:
        return lambda item, tries: Failure(item=item, error=error, trace="", attempts=tries)

    def finish(self, number: int, task: Prepare, executed: int) -> None:
        made = chunk(task.batch, task.start, task.stop)
        prepared = Prepared(
            batch=task.batch,
            start=task.start,
            stop=task.stop,
            chunks=(made,),
            executed=executed,
            seconds=SECONDS * executed,
        )
        self.schedule.prepared(number, prepared)

    def check(self, *, failed: Mapping[int, int] | None = None) -> None:
        """All is published in order; each item was done once, or failed after so many tries."""
        failed = failed or {}
        assert self.published == list(range(self.plan.batches))
        assert {item: failure.attempts for item, failure in self.failures.items()} == failed
        assert self.done == Counter(set(range(self.plan.items)) - failed.keys())


@pytest.mark.parametrize("batch_size", [1, 7, 100])
@pytest.mark.parametrize("slots", [1, 4])
def test_each_item_once_and_batches_in_order(
    make_plan: MakePlan, batch_size: int, slots: int, seeded: random.Random
) -> None:
    world = World(make_plan(100, batch_size), slots=slots)
    world.run(seeded)
    world.check()


def test_the_first_task_is_one_item_and_the_next_a_quarter_of_a_second(make_plan: MakePlan) -> None:
    world = World(make_plan(1000, 1000), slots=1)
    world.run()
    assert world.sizes[:3] == [1, 5, 5]
    assert max(world.sizes) == 5


@pytest.mark.parametrize("item", [0, 3, 49, 99])
@pytest.mark.parametrize("slots", [1, 4])
def test_an_item_that_kills_each_worker_is_tried_twice_the_second_time_alone(
    make_plan: MakePlan, item: int, slots: int, seeded: random.Random
) -> None:
    world = World(make_plan(100, 50), slots=slots, kills={item: 99})
    world.run(seeded)
    world.check(failed={item: 2})
    assert world.tries[item] == 2
    assert world.alone[item] >= 1


def test_an_item_that_killed_once_is_done_the_second_time(
    make_plan: MakePlan, seeded: random.Random
) -> None:
    world = World(make_plan(100, 50), kills={20: 1})
    world.run(seeded)
    world.check()
    assert (world.tries[20], world.alone[20]) == (2, 1)


def test_a_suspect_is_tried_before_any_other_work(make_plan: MakePlan) -> None:
    """So that it is known at once, and not after days of work."""
    world = World(make_plan(50, 50), slots=1, kills={3: 1})
    world.run()
    assert world.order[:5] == [0, 1, 2, 3, 3]
    assert world.order[5:8] == [1, 2, 4]


def test_a_suspect_stays_one_when_its_worker_ends_before_it_is_begun(make_plan: MakePlan) -> None:
    world = World(make_plan(50, 50), slots=1, kills={0: 1})
    world.hand_out()
    world.end(min(world.running))
    for _ in range(3):
        world.hand_out()
        (number,) = world.running
        assert world.schedule.is_suspect(number)
        world.running.pop(number)
        world.schedule.cut_off.put_back(number)
    world.run()
    world.check()


def test_many_that_kill(make_plan: MakePlan, seeded: random.Random) -> None:
    killers = seeded.sample(range(300), 40)
    world = World(make_plan(300, 20), slots=4, kills=dict.fromkeys(killers, 99))
    world.run(seeded)
    world.check(failed=dict.fromkeys(killers, 2))
    assert {world.tries[item] for item in killers} == {2}


def test_what_came_before_in_the_same_task_is_done_again_and_what_follows_is_not_blamed(
    make_plan: MakePlan,
) -> None:
    world = World(make_plan(50, 50), slots=1, kills={3: 99})
    world.run()
    world.check(failed={3: 2})
    assert {world.tries[item] for item in range(4, 50)} == {1}


def test_a_unit_that_kills_is_tried_twice_and_then_one_by_one(make_plan: MakePlan) -> None:
    """Items of `map_batches` go together, so which of them it was is found out alone."""
    world = World(make_plan(40, 20), slots=2, unit_items=10, kills={13: 99})
    world.run()
    world.check(failed={13: 2})
    assert world.tries[13] == 3
    assert world.tries[15] == 1


@pytest.mark.parametrize("tries", [1, 2, 4])
def test_an_item_that_takes_too_long_is_tried_as_often_as_the_job_says(
    make_plan: MakePlan, tries: int, seeded: random.Random
) -> None:
    world = World(make_plan(60, 30), slow={17: 99}, timeout_tries=tries)
    world.run(seeded)
    world.check(failed={17: tries})
    assert world.tries[17] == tries


def test_an_item_that_was_slow_once_is_done_where_it_may_be_tried_again(
    make_plan: MakePlan, seeded: random.Random
) -> None:
    world = World(make_plan(60, 30), slow={17: 1}, timeout_tries=2)
    world.run(seeded)
    world.check()


def test_a_unit_that_takes_too_long_is_then_tried_one_by_one(make_plan: MakePlan) -> None:
    world = World(make_plan(20, 20), slots=1, unit_items=10, slow={13: 99}, timeout_tries=2)
    world.run()
    world.check(failed={13: 2})
    assert world.tries[13] == 4


def test_those_that_crashes_of_the_run_are_blamed_on(
    make_plan: MakePlan, seeded: random.Random
) -> None:
    """The condemned are not tried; suspects with few others, all of them suspects."""
    condemned = {30: Failure(item=30, error="crashes", trace="", attempts=3)}
    suspects = dict.fromkeys(range(10, 26), 2)
    world = World(make_plan(100, 50), slots=8, blame=Blame(condemned=condemned, suspects=suspects))
    world.run(seeded)
    world.check(failed={30: 3})
    assert world.tries[30] == 0
    assert {world.tries[item] for item in suspects} == {1}


def test_a_worker_that_ended_between_items_costs_no_try(make_plan: MakePlan) -> None:
    world = World(make_plan(20, 10), slots=2)
    world.hand_out()
    for number in list(world.running):
        world.running.pop(number)
        world.schedule.cut_off.put_back(number)
    world.run()
    world.check()


def test_an_item_that_ends_machines_is_found_by_halving(make_plan: MakePlan) -> None:
    world = World(make_plan(64, 64), slots=1, ends={40: 100})
    world.run()
    world.check(failed={40: 3})
    assert world.tries[40] < 20


def test_the_end_of_a_machine_alone_costs_no_item(make_plan: MakePlan) -> None:
    world = World(make_plan(64, 16), slots=2, ends={5: 2, 40: 1})
    world.run()
    world.check()


def test_a_unit_whose_machines_end_is_tried_one_by_one(make_plan: MakePlan) -> None:
    world = World(make_plan(12, 12), slots=1, unit_items=4, ends={6: 100})
    world.run()
    world.check(failed={6: 3})


def test_a_limit_cuts_the_last_batch(make_plan: MakePlan) -> None:
    world = World(make_plan(100, 30), limit=40)
    world.run()
    assert sorted(world.done) == list(range(40))
    assert world.published == [0]


def test_what_is_staged_is_adopted(make_plan: MakePlan) -> None:
    def find(batch: int) -> BatchLeft:
        return BatchLeft(
            number=batch,
            chunks=(chunk(1, 2, 5), chunk(1, 4, 6)) if batch == 1 else (),
            sealed=seal(0, 10) if batch == 0 else None,
        )

    world = World(make_plan(30, 10), find_left=find)
    world.run()
    assert world.published == [0, 1, 2]
    assert sorted(world.done) == [10, 11, *range(15 if 15 in world.done else 16, 30)]
    assert world.schedule.adopted_items + len(world.done) == 30


def test_damaged_chunks_are_done_again(make_plan: MakePlan) -> None:
    world = World(
        make_plan(10, 10),
        slots=1,
        find_left=lambda batch: BatchLeft(number=0, chunks=(chunk(0, 0, 10),)),
    )
    world.hand_out()
    (number,) = world.running
    task = world.running.pop(number)
    assert isinstance(task, Seal)
    world.schedule.unsealable(number, Unsealable(batch=0, damaged=task.chunks))
    assert world.schedule.adopted_items == 0
    world.run()
    world.check()


def test_a_batch_that_is_taken_up_again(make_plan: MakePlan) -> None:
    world = World(make_plan(10, 10), pending=())
    chunks = (chunk(0, 0, 4), chunk(0, 5, 10))
    world.schedule.open.reopen(
        left_of(Reopened(batch=0, chunks=chunks, again=((4, 5),)), is_reopened=True)
    )
    world.run()
    assert (world.published, list(world.done)) == ([0], [4])


def test_what_was_staged_since_is_adopted_and_what_a_part_had_is_not(make_plan: MakePlan) -> None:
    world = World(make_plan(20, 10))
    chunks = (chunk(1, 0, 4),)
    answer = Reopened(batch=1, chunks=chunks, again=((4, 10),))
    world.schedule.open.reopen(left_of(answer, [chunk(1, 3, 6), chunk(1, 6, 8)], is_reopened=True))
    assert world.schedule.adopted_items == 2
    assert world.schedule.open.staged_items == 6


def test_a_batch_that_is_taken_up_again_is_done_beyond_the_limit(make_plan: MakePlan) -> None:
    world = World(make_plan(20, 10), limit=5)
    world.schedule.open.reopen(
        left_of(Reopened(batch=1, chunks=(chunk(1, 0, 4),), again=((4, 10),)))
    )
    world.run()
    assert sorted(world.done) == [*range(5), *range(14, 20)]


def test_batches_are_published_in_order_whichever_was_begun_first(make_plan: MakePlan) -> None:
    plan = make_plan(30, 10)
    world = World(plan, find_left=lambda n: BatchLeft(number=n, chunks=(chunk(n, 0, 10),)))
    world.schedule.open.reopen(
        left_of(Reopened(batch=2, chunks=(chunk(2, 0, 9),), again=((9, 10),)))
    )
    world.schedule.open.opening._pending = iter([0, 1])
    world.run()
    assert world.published == [0, 1, 2]


def test_a_finished_batch_is_sealed_before_work_of_others_is_handed_out(
    make_plan: MakePlan,
) -> None:
    world = World(make_plan(30, 10), slots=1)
    world.schedule.open.opening._pending = iter(())
    for batch in range(3):
        answer = Reopened(batch=batch, chunks=(chunk(batch, 0, 9),), again=((9, 10),))
        world.schedule.open.reopen(left_of(answer, is_reopened=True))
    kinds = []
    for _ in range(6):
        found = world.schedule.next_task()
        assert found is not None
        number, task = found
        kinds.append((type(task), task.batch))
        world.running[number] = task
        world.end(number)
    assert kinds == [(kind, batch) for batch in range(3) for kind in (Prepare, Seal)]


def test_a_batch_behind_work_that_may_not_begin_is_sealed(make_plan: MakePlan) -> None:
    world = World(make_plan(20, 10), slots=1)
    world.schedule.open.opening._pending = iter(())
    world.schedule.open.reopen(
        left_of(Reopened(batch=0, chunks=(chunk(0, 0, 9),), again=((9, 10),)))
    )
    world.schedule.open.reopen(left_of(Reopened(batch=1, chunks=(chunk(1, 0, 10),), again=())))
    world.schedule.may_begin = lambda in_hand, item: False
    found = world.schedule.next_task()
    assert found is not None
    assert isinstance(found[1], Seal)
    assert found[1].batch == 1


def test_batches_begun_are_bounded(make_plan: MakePlan) -> None:
    """A first batch that does not end holds up the others, however many there are."""
    world = World(make_plan(3 * OPEN_BATCHES_MAX, 1), slots=2)
    world.hand_out()
    held = min(world.running)
    for _ in range(4 * OPEN_BATCHES_MAX):
        world.hand_out()
        others = [number for number in world.running if number != held]
        if not others:
            break
        world.end(others[0])
    assert len(world.done) == OPEN_BATCHES_MAX - 1
    assert not world.schedule.open.take_ready()
    world.run()
    world.check()


def test_without_a_schema_one_task_a_worker_and_sealing_in_order(make_plan: MakePlan) -> None:
    schedule = Schedule(
        make_plan(40, 10),
        range(4),
        find_left=no_files,
        schema=None,
        allotment=Allotment(slots=3),
        blame=NO_BLAME,
    )
    tasks: list[Any] = []
    while schedule.wants_task:
        tasks.append(schedule.next_task())
    assert len(tasks) == 3
    assert [task.may_pin for _, task in tasks] == [True, True, True]
    assert all(isinstance(task, Prepare) and task.schema is None for _, task in tasks)


def test_a_machine_that_has_nothing_does_not_wait_while_a_batch_is_sealed(
    make_plan: MakePlan,
) -> None:
    world = World(make_plan(8, 1), slots=2)
    world.schedule.schema = None
    world.hand_out()
    world.end(min(world.running))
    world.hand_out()
    assert Counter(map(type, world.running.values())) == {Seal: 1, Prepare: 1}
    world.schedule.demand.has_idle = lambda: len(world.running) < 3
    world.hand_out()
    assert Counter(map(type, world.running.values())) == {Seal: 1, Prepare: 2}


@pytest.mark.parametrize(
    ("items", "most", "first"), [(40, 39, 20), (40, 40, 40), (40, 100, 40), (40, 1, 1), (7, 3, 3)]
)
def test_no_piece_is_much_smaller_than_others(items: int, most: int, first: int) -> None:
    assert cut_evenly(Range(start=5, stop=5 + items), most) == first


def test_a_range_knows_nothing_at_first() -> None:
    assert Range(start=0, stop=1) == Range(
        start=0, stop=1, deaths=0, timeouts=0, is_apart=False, company=None, condemned=None
    )


def test_a_piece_may_have_so_many_failures(make_plan: MakePlan) -> None:
    world = World(make_plan(40, 10))
    world.schedule.failures_max = 7
    world.hand_out()
    assert {task.failures_max for task in world.running.values() if isinstance(task, Prepare)} == {
        7
    }


def test_a_piece_says_how_much_was_heard_before_it(make_plan: MakePlan) -> None:
    world = World(make_plan(40, 10), slots=1)
    assert find_heard(world) == 0
    portion = Portion(batch=0, chunks=(), executed=1, failures=1, first_failure=None)
    world.schedule.took(portion)
    world.schedule.took(portion)
    world.schedule.cut_off.put_back(1)
    assert find_heard(world) == 2


def find_heard(world: World) -> int:
    found = world.schedule.next_task()
    assert found is not None
    assert isinstance(found[1], Prepare)
    return found[1].heard


def test_a_closed_schedule_hands_out_no_item(make_plan: MakePlan) -> None:
    """But it has batches sealed that were published and rejected: what failed of them is known."""
    world = World(make_plan(40, 10), slots=1)
    world.schedule.demand.pace.take(16, executed=16, seconds=0.016)
    found = world.schedule.next_task()
    assert found is not None
    finished = Prepared(batch=0, start=0, stop=10, chunks=(chunk(0, 0, 10),))
    world.schedule.prepared(found[0], finished)
    world.schedule.open.reopen(
        left_of(Reopened(batch=3, chunks=(chunk(3, 0, 10),), again=()), is_reopened=True)
    )
    world.schedule.close()
    world.hand_out()
    assert [(type(task), task.batch) for task in world.running.values()] == [(Seal, 3)]


def test_what_was_not_begun_is_handed_out_again(make_plan: MakePlan) -> None:
    """A worker that drains gives all of it back."""
    world = World(make_plan(10, 10), slots=1)
    world.hand_out()
    ((number, task),) = world.running.items()
    assert isinstance(task, Prepare)
    world.running.clear()
    world.schedule.prepared(number, Prepared(batch=0, start=task.start, stop=task.start))
    world.run()
    assert world.published == [0]
    assert set(world.done.values()) == {1}


def test_what_was_given_up_is_handed_out_again(make_plan: MakePlan) -> None:
    """Some awaited calls were about to be made again where a worker left."""
    world = World(make_plan(10, 10), slots=1)
    number, task = world.schedule.next_task() or (0, None)
    assert isinstance(task, Prepare)
    assert (task.start, task.stop) == (0, 1)
    world.schedule.prepared(number, Prepared(batch=0, start=0, stop=1, left=(0,)))
    world.run()
    world.check()
