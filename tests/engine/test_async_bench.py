"""What awaits is begun no more after so many failed as stop a run, until the driver has heard of
them: also what it had handed out before."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from typing import Any

import pytest

import batten
from batten.errors import StorageError
from batten.executors.asynchronous import AsyncExecutor
from batten.executors.base import Finished, Raised, Told
from batten.model.disk.names import Layout
from batten.rows.declared import find_declared
from batten.storage.twin.memory import MemoryStorage, system_error
from batten.work import async_bench
from batten.work.async_bench import AsyncBench
from batten.work.calling.most_fail import FIRST
from batten.work.tasks import Portion, Prepare, WorkerJob

ITEMS = 100


class Driver:
    """Hands out ranges of one batch, and says of each what it has heard."""

    def __init__(self, storage: MemoryStorage, layout: Layout, make_plan: Any) -> None:
        self.calls: list[int] = []
        self.answers = False

        async def work(number: int) -> dict[str, int]:
            self.calls.append(number)
            if not self.answers:
                raise ConnectionError("nobody answers")
            for _ in range(1000):  # the loop has other things to do meanwhile
                await asyncio.sleep(0)
            return {"number": number}

        pipeline = batten.from_range(ITEMS).map(work)
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
        self._executor = AsyncExecutor(1)
        self._executor.start(AsyncBench(job).work)
        self._tasks = 0

    def prepare(self, start: int, stop: int, heard: int) -> tuple[int, int]:
        """How far it came, and how many portions were told of."""
        task = Prepare(batch=0, start=start, stop=stop, schema=None, may_pin=True, heard=heard)
        self._tasks += 1
        self._executor.submit(self._tasks, task)
        portions = 0
        while True:
            for event in self._executor.wait():
                if isinstance(event, Told):
                    portions += isinstance(event.value, Portion)
                else:
                    if isinstance(event, Raised):
                        raise event.error
                    assert isinstance(event, Finished), event
                    return event.value.stop, portions

    def close(self) -> None:
        self._executor.stop()


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
