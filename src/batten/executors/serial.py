"""Runs tasks one after the other in the caller's own thread."""

from __future__ import annotations

import traceback
from collections import deque
from typing import Any

from batten.executors.base import IDLE, Event, Finished, Raised, Work
from batten.executors.marks import ITEM, MakeFile, MarkTable


class SerialExecutor:
    """Each `wait` runs one task, so debuggers and storages in memory work.

    What is not an `Exception` (`KeyboardInterrupt`) leaves `wait` as it is."""

    slots = 1
    can_kill = False

    def __init__(self, *, in_flight: MakeFile | None = None) -> None:
        self._in_flight = in_flight
        self._marks: MarkTable | None = None
        self._tasks: deque[tuple[int, Any]] = deque()

    def start(self, work: Work) -> None:
        self._work = work
        self._marks = MarkTable(1, self._in_flight)
        self._mark = self._marks.mark(0)

    def submit(self, task_id: int, task: Any, *, in_new_process: bool = False) -> None:
        self._tasks.append((task_id, task))

    def wait(self, timeout_seconds: float | None = None) -> list[Event]:
        if not self._tasks or self._marks is None:
            return []
        task_id, task = self._tasks.popleft()
        try:
            value = self._work(task, self._mark)
        except Exception as error:  # noqa: BLE001 - the user's code
            self._marks.records[0][ITEM] = IDLE
            return [Raised(task_id=task_id, error=error, trace=traceback.format_exc())]
        self._marks.records[0][ITEM] = IDLE
        return [Finished(task_id=task_id, value=value)]

    def drain(self) -> None:
        if self._marks is not None:
            self._marks.drain()

    def stop(self) -> None:
        self._tasks.clear()
        if self._marks is not None:
            self._marks.close()
            self._marks = None
