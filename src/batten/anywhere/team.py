"""Runs tasks by workers of this machine, and by those that came from other machines for it.

Work of items goes to whoever has a free place. All else is done here: batches are sealed from
chunks, and what may end a worker is tried apart. A worker that is gone costs what it had, which
`Lost` tells.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import Any

from batten.anywhere.assigning import Assigning, LostTask
from batten.anywhere.meeting import Meeting
from batten.anywhere.wire import UnclearError, decode_event, encode_schema, encode_task
from batten.errors import BattenError
from batten.executors.base import Event, Executor, Finished, Lost, Told, Work
from batten.model.disk.runs.workers import Board
from batten.work.tasks import Prepare, Prepared

BEATS = 3
"""So often within the time after which one who gives no sign is gone, a sign is given."""


class Team:
    """Implements `Executor`. `board` is what it says of the run at first. Of the tasks that anybody
    can do, `here` are done at a time, and `here_max` given to the workers of this machine. A task
    has `calls_max` calls in hand at a time, at most."""

    def __init__(
        self,
        local: Executor,
        meeting: Meeting,
        board: Board,
        *,
        here: int,
        here_max: int,
        calls_max: int,
    ) -> None:
        self._local = local
        self._meeting = meeting
        self._board = board
        self._here, self._here_max, self._calls_max = here, here_max, calls_max
        self._assigning = Assigning(board.run, gone_seconds=board.gone_seconds)
        self._queue: deque[tuple[int, Prepare]] = deque()
        self._at_home: set[int] = set()
        self._away: dict[int, int] = {}
        self._events: list[Event] = []
        self._versions: dict[str, str] = {}
        self._looked_at = self._written_at = -float("inf")
        self._schema: bytes | None = None

    @property
    def slots(self) -> int:
        """Of this machine and of all others, as items in hand at a time."""
        return self._local.slots + self._assigning.slots * self._local.slots // self._here

    @property
    def machines(self) -> int:
        """This one, and all others."""
        return self._assigning.machines + 1

    @property
    def can_kill(self) -> bool:
        return self._local.can_kill

    def has_idle(self) -> bool:
        """Whether a worker elsewhere would begin one more task at once."""
        return self._assigning.idle_slots > len(self._queue)

    def start(self, work: Work) -> None:
        self._local.start(work)
        self._meeting.take_over()
        self._write()

    def submit(self, task_id: int, task: Any, *, in_new_process: bool = False) -> None:
        is_for_all = isinstance(task, Prepare) and task.condemned is None and not in_new_process
        if is_for_all:
            self._queue.append((task_id, task))
            self._assign()
            return
        self._at_home.add(task_id)
        self._local.submit(task_id, task, in_new_process=in_new_process)

    def wait(self, timeout_seconds: float | None = None) -> list[Event]:
        until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            self._look()
            self._assign()
            if self._assigning.has_changed or self._is_beat_due:
                self._write()
            events = self._take_local(0)
            left = 0.0 if until is None else max(0.0, until - time.monotonic())
            is_over = until is not None and not left
            is_idle = not (self._queue or self._at_home or self._away)
            if not (events or is_over or is_idle):
                seconds = self._meeting.poll_seconds
                seconds = seconds if until is None else min(seconds, left)
                if self._at_home:
                    events = self._take_local(seconds)
                else:
                    time.sleep(seconds)
            if events or is_over or is_idle:
                return events

    def drain(self) -> None:
        self._local.drain()
        self._board = replace(self._board, is_draining=True)
        while self._queue:
            task_id, task = self._queue.popleft()
            nothing = Prepared(batch=task.batch, start=task.start, stop=task.start)
            self._events.append(Finished(task_id=task_id, value=nothing))
        self._write()

    def stop(self) -> None:
        self._local.stop()
        self._queue.clear()
        self._at_home.clear()
        for name in list(self._assigning.names()):
            self._assigning.forget(name)
        self._away.clear()

    def tell_end(self, ended: str) -> None:
        """The board says how the run ended; workers look there."""
        self._board = replace(self._board, ended=ended)
        with suppress(BattenError):
            self._write()

    def _take_local(self, seconds: float) -> list[Event]:
        events, self._events = self._events, []
        for event in self._local.wait(0 if events else seconds):
            if not isinstance(event, Told):
                self._at_home.discard(event.task_id)
            events.append(event)
        return events

    def _assign(self) -> None:
        """First to those who would begin at once."""
        while self._queue:
            task_id, task = self._queue[0]
            home = len(self._at_home)
            is_home_busy = home >= self._here
            if is_home_busy and self._assigning.idle_slots and self._give(task_id, task):
                pass
            elif home < self._here_max:
                self._at_home.add(task_id)
                self._local.submit(task_id, task)
            elif not self._give(task_id, task):
                return
            self._queue.popleft()

    def _give(self, task_id: int, task: Prepare) -> bool:
        if task.schema is not None and self._schema is None:
            self._schema = task.schema
            self._board = replace(self._board, schema=encode_schema(task.schema))
        is_given = self._assigning.give(task_id, encode_task(task))
        if is_given:
            self._away[task_id] = min(self._calls_max, task.stop - task.start)
        return is_given

    def _look(self) -> None:
        """Read what workers wrote since the last look, and give up those without a sign."""
        now = time.monotonic()
        if now - self._looked_at < self._meeting.poll_seconds:
            return
        self._looked_at = now
        for name, version in list(self._meeting.list_registers()):
            if self._versions.get(name) != version:
                self._read(name, now)
        gone, lost = self._assigning.expire(now)
        for name in gone:
            self._dismiss(name)
        self._tell_lost(lost)

    def _read(self, name: str, now: float) -> None:
        seen = self._meeting.read_register(name)
        if seen is None:
            return
        self._versions[name] = seen.version
        if seen.register is None:
            return
        try:
            for heard in self._assigning.see(seen.register, seen.version, now):
                event = decode_event(heard.task, heard.text)
                if heard.is_end:
                    self._away.pop(heard.task, None)
                self._events.append(event)
        except UnclearError:
            self._tell_lost(self._assigning.forget(name))
            self._dismiss(name)

    def _dismiss(self, name: str) -> None:
        """One that lives after all finds that its register is gone, and begins anew."""
        self._meeting.delete_register(name, self._versions.get(name, ""))

    def _tell_lost(self, lost: list[LostTask]) -> None:
        for each in lost:
            calls_max = self._away.pop(each.task, 1)
            cause = f"{each.worker} has given no sign for {self._board.gone_seconds:g} s"
            self._events.append(
                Lost(
                    task_id=each.task,
                    was_begun=each.was_begun,
                    cause=cause,
                    calls_max=calls_max,
                ),
            )

    @property
    def _is_beat_due(self) -> bool:
        return time.monotonic() - self._written_at > self._board.gone_seconds / BEATS

    def _write(self) -> None:
        """Raises `BusyError` where another run has taken over."""
        self._assigning.has_changed = False
        self._board = replace(self._board, hands=self._assigning.hands(), machines=self.machines)
        self._meeting.write_board(self._board)
        self._written_at = time.monotonic()
