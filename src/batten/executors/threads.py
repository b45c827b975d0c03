"""Runs tasks in threads of this process."""

from __future__ import annotations

import threading
import traceback
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from batten.executors.base import IDLE, Event, Finished, Raised, Work
from batten.executors.marks import ITEM, MakeFile, MarkTable, SlotMark


class ThreadExecutor:
    """`jobs` threads. A thread can't be killed: `stop` drops what is queued, and waits for
    what is in hand, so that nothing is staged after it."""

    can_kill = False

    def __init__(self, jobs: int, *, in_flight: MakeFile | None = None) -> None:
        self._jobs = jobs
        self._in_flight = in_flight
        self._marks: MarkTable | None = None
        self._threads: list[threading.Thread] = []
        self._tasks: SimpleQueue[tuple[int, Any] | None] = SimpleQueue()
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._outstanding = 0

    @property
    def slots(self) -> int:
        return self._jobs

    def start(self, work: Work) -> None:
        self._marks = MarkTable(self._jobs, self._in_flight)
        for slot, record in enumerate(self._marks.records):
            thread = threading.Thread(
                target=self._serve,
                args=(work, self._marks.mark(slot), record),
                daemon=True,
                name="batten-worker",
            )
            thread.start()
            self._threads.append(thread)

    def submit(self, task_id: int, task: Any, *, in_new_process: bool = False) -> None:
        self._outstanding += 1
        self._tasks.put((task_id, task))

    def wait(self, timeout_seconds: float | None = None) -> list[Event]:
        events: list[Event] = []
        with suppress(Empty):
            if self._outstanding:
                events.append(self._events.get(timeout=timeout_seconds))
            while len(events) < self._outstanding:
                events.append(self._events.get_nowait())
        self._outstanding -= len(events)
        return events

    def drain(self) -> None:
        if self._marks is not None:
            self._marks.drain()

    def stop(self) -> None:
        self._outstanding = 0
        with suppress(Empty):
            while True:
                self._tasks.get_nowait()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        if self._marks is not None:
            self._marks.close()
            self._marks = None

    def _serve(self, work: Work, mark: SlotMark, record: memoryview) -> None:
        while (queued := self._tasks.get()) is not None:
            task_id, task = queued
            event: Event
            try:
                event = Finished(task_id=task_id, value=work(task, mark))
            except BaseException as error:  # noqa: BLE001 - the user's code
                event = Raised(task_id=task_id, error=error, trace=traceback.format_exc())
            record[ITEM] = IDLE
            self._events.put(event)
