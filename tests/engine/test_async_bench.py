"""What awaits is begun no more after so many failed as stop a run, until the driver has heard of
them: also what it had handed out before."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import batten
from batten.errors import StorageError
from batten.executors.asynchronous import AsyncExecutor
from batten.executors.base import Event, Finished, Raised, Told
from batten.model.disk.names import Layout
from batten.rows.declared import find_declared
from batten.storage.twin.memory import MemoryStorage, system_error
from batten.work import async_bench
from batten.work.async_bench import AsyncBench
from batten.work.calling.most_fail import FIRST
from batten.work.tasks import Portion, Prepare, Prepared, WorkerJob

ITEMS = 100


class Driver:
    """Hands out ranges of one batch, and says of each what it has heard."""

    def __init__(self, storage: MemoryStorage, layout: Layout, make_plan: Any) -> None:
        self.calls: list[int] = []
        self.answers = False
        self.slots, self.retries = 1, 0
        self._parts = storage, layout, make_plan
        self._executor: AsyncExecutor | None = None
        self._tasks = 0

    async def work(self, number: int) -> dict[str, int]:
        self.calls.append(number)
        if not self.answers:
            raise ConnectionError("nobody answers")
        for _ in range(1000):  # the loop has other things to do meanwhile
            await asyncio.sleep(0)
        return {"number": number}

    @property
    def executor(self) -> AsyncExecutor:
        if self._executor is None:
            self._executor = self._start()
        return self._executor

    def _start(self) -> AsyncExecutor:
        storage, layout, make_plan = self._parts
        work = self.work

        async def call(number: int) -> dict[str, int]:
            return await work(number)

        pipeline = batten.from_range(ITEMS).map(call, retries=self.retries)
        job = WorkerJob(
            storage=storage,
            layout=layout,
            plan=make_plan(ITEMS, ITEMS),
            source=pipeline.source,
            steps=pipeline.steps,
            declared=find_declared(pipeline.steps, None, "key"),
            key_column="key",
            fingerprint="f" * 64,
            work="w" * 64,
            works=("w" * 64,),
            has_time_limit=False,
            keeps_failures=True,
            is_watched=True,
        )
        executor = AsyncExecutor(self.slots)
        executor.start(AsyncBench(job).work)
        return executor

    def submit(self, start: int, stop: int, heard: int = 0) -> None:
        task = Prepare(batch=0, start=start, stop=stop, schema=None, may_pin=True, heard=heard)
        self._tasks += 1
        self.executor.submit(self._tasks, task)

    def take_ends(self, count: int) -> list[Prepared | BaseException]:
        """What becomes of so many tasks."""
        ends: list[Prepared | BaseException] = []
        while len(ends) < count:
            events = self.executor.wait(60)
            assert events
            ends += list_ends(events)
        return ends

    def prepare(self, start: int, stop: int, heard: int) -> tuple[int, int]:
        """How far it came, and how many portions were told of."""
        self.submit(start, stop, heard)
        portions = 0
        while True:
            for event in self.executor.wait():
                if isinstance(event, Told):
                    portions += isinstance(event.value, Portion)
                else:
                    if isinstance(event, Raised):
                        raise event.error
                    assert isinstance(event, Finished), event
                    return event.value.stop, portions

    def drain(self) -> Prepared:
        """Begin nothing more, let calls answer, and wait for the end of the one task."""
        self.executor.drain()
        self.answers = True
        (end,) = self.take_ends(1)
        assert isinstance(end, Prepared)
        return end

    def close(self) -> None:
        if self._executor is not None:
            self._executor.stop()


def list_ends(events: list[Event]) -> Iterator[Prepared | BaseException]:
    for event in events:
        if isinstance(event, Finished):
            yield event.value
        elif isinstance(event, Raised):
            yield event.error


@pytest.fixture
def driver(storage: MemoryStorage, layout: Layout, make_plan: Any) -> Iterator[Driver]:
    storage.ensure_folder(layout.staged)
    made = Driver(storage, layout, make_plan)
    yield made
    made.close()


def test_what_was_handed_out_before_the_driver_heard_is_not_begun(driver: Driver) -> None:
    stop, heard = driver.prepare(0, 50, 0)
    assert (stop, len(driver.calls)) == (FIRST, FIRST)
    assert heard
    assert driver.prepare(stop, 50, heard - 1) == (stop, 0)
    assert len(driver.calls) == FIRST


def test_it_goes_on_if_the_driver_has_heard_and_goes_on(driver: Driver) -> None:
    stop, heard = driver.prepare(0, 50, 0)
    assert driver.prepare(stop, stop + 5, heard)[0] == stop + 5
    assert len(driver.calls) == FIRST + 5


def test_once_an_answer_could_not_be_kept_no_further_one_is_asked_for(
    driver: Driver, storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def fail(moment: str, step: str, name: str) -> None:
        if step == "stage.create":
            begun.append(name)
            raise system_error(errno.ENOSPC, name)

    monkeypatch.setattr(async_bench, "STAGE_SECONDS", 0)
    driver.answers = True
    storage.observer = fail
    with pytest.raises(StorageError, match="disk is full"):
        driver.prepare(0, ITEMS, 0)
    assert begun
    assert len(driver.calls) < ITEMS / 2


def test_what_waits_for_another_try_is_told_as_left_when_no_more_is_begun(driver: Driver) -> None:
    driver.slots, driver.retries = 2, 3
    failed = threading.Event()

    async def work(number: int) -> dict[str, int]:
        if number == 1:
            failed.set()
            raise ConnectionError("nobody answers")
        while not driver.answers:
            await asyncio.sleep(0)
        return {"number": number}

    driver.work = work  # type: ignore[method-assign]
    driver.submit(0, 2)
    assert failed.wait(60)
    end = driver.drain()
    assert (end.stop, end.left) == (2, (1,))


def test_a_function_cancels_its_task_while_no_more_is_begun(driver: Driver) -> None:
    """That is its own failure, and no call that the end of the run cuts off."""
    begun = threading.Event()

    async def work(number: int) -> dict[str, int]:
        begun.set()
        while not driver.answers:
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        return {"number": number}

    driver.work = work  # type: ignore[method-assign]
    driver.submit(0, 2)
    assert begun.wait(60)
    end = driver.drain()
    assert (end.stop, end.left) == (1, ())


def test_where_one_range_fails_the_places_of_its_calls_are_free(
    driver: Driver, storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker on another machine goes on until it has left."""
    driver.slots = 2
    are_taken = threading.Event()

    async def work(number: int) -> dict[str, int]:
        if number == 2:
            are_taken.set()
        while number in (1, 2):
            await asyncio.sleep(1)
        return {"number": number}

    def fail(moment: str, step: str, name: str) -> None:
        if step == "stage.create" and not driver.answers:
            driver.answers = True
            assert are_taken.wait(60)
            raise system_error(errno.ENOSPC, name)

    monkeypatch.setattr(async_bench, "STAGE_SECONDS", 0)
    driver.work = work  # type: ignore[method-assign]
    assert driver.executor.slots == 2
    storage.observer = fail
    driver.submit(0, 3)
    driver.submit(3, 6)
    failed, end = sorted(driver.take_ends(2), key=lambda each: isinstance(each, Prepared))
    assert isinstance(failed, StorageError)
    assert isinstance(end, Prepared)
    assert (end.start, end.stop, end.left) == (3, 6, ())
