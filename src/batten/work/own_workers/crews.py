"""The workers that steps have of their own, as the driver keeps them: begun, watched, replaced.

They are worker processes like the others. Each is given one task, to serve, which has no end
(decision 0137).
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from batten.errors import FINISHED_KEPT, StorageError
from batten.executors.base import Died, Event, Executor, Raised, TimedOut, Work
from batten.jobs.devices import Device, Worker, find_devices
from batten.jobs.step import Step

if TYPE_CHECKING:
    from batten.jobs.model_server import ModelServer
    from batten.work.own_workers.lane import Lane
    from batten.work.own_workers.server import KeptServer, ServerState
    from batten.work.own_workers.serving import Serve

_END_SECONDS_MAX = 10.0
"""How long the news of a worker's end may take, after its connection has ended."""

_UNNAMED = Device(name="", environment={})


class Crews:
    """Those of all steps. Raises `UsageError` for a device that is not there, and `StorageError`
    where sockets can't be had."""

    def __init__(self, steps: Sequence[Step], waiting_max: int) -> None:
        self.lanes: dict[int, Lane] = {}
        self._listeners: list[socket.socket] = []
        self._posts: list[Serve] = []
        self._executor: Executor | None = None
        self._has_begun = False
        self._numbers = itertools.count()
        self._by_task: dict[int, Serve] = {}
        self._ended: dict[int, Died | TimedOut] = {}
        self._news: list[Event] = []
        self._servers: dict[ModelServer, KeptServer] = {}
        self.servers: dict[int, ServerState] = {}
        try:
            for number, step in enumerate(steps):
                if step.has_own_workers:
                    self._plan(number, step, waiting_max)
                if step.server is not None:
                    from batten.work.own_workers.server import KeptServer

                    kept = self._servers.get(step.server) or KeptServer(step.server)
                    self._servers[step.server] = kept
                    self.servers[number] = kept.state
        except OSError as error:
            self.stop()
            raise StorageError(
                f"A step's workers can't be reached: {error.strerror or error}.",
                safe=FINISHED_KEPT,
                next="Run it again when more files may be open.",
                errno=error.errno,
            ) from error

    def _plan(self, number: int, step: Step, waiting_max: int) -> None:
        from batten.work.own_workers.lane import open_lane
        from batten.work.own_workers.serving import Serve

        devices = find_devices(step.devices, os.environ) if step.devices is not None else []
        listener, lane = open_lane(waiting_max)
        self._listeners.append(listener)
        self.lanes[number] = lane
        for index in range(step.concurrency or len(devices)):
            device = devices[index % len(devices)] if devices else _UNNAMED
            self._posts.append(
                Serve(
                    serving=-1,
                    number=number,
                    handle=lane.handle,
                    worker=Worker(index=index, device=device.name or None),
                    environment=device.environment,
                )
            )

    @property
    def workers(self) -> int:
        """How many there are, of all steps."""
        return len(self._posts)

    @property
    def in_hand_min(self) -> int:
        """How many items must be in hand so that none of them waits for work."""
        return len(self._posts) + len(self.lanes)

    @property
    def handles(self) -> tuple[int, ...]:
        """What they need of the driver's open files."""
        return tuple(lane.handle for lane in self.lanes.values())

    def start(self, executor: Executor, work: Work) -> None:
        """Make ready to begin them, before there are threads."""
        self._executor = executor
        executor.start(work)

    def start_servers(self, make_executor: Callable[[], Executor]) -> None:
        """The same for the servers of steps, each with an executor of its own."""
        for kept in self._servers.values():
            kept.start(make_executor())

    def begin(self) -> None:
        """Begin them, as soon as there is an item for them. It may be repeated."""
        if not self._has_begun:
            self._has_begun = True
            for kept in self._servers.values():
                kept.begin()
            for post in self._posts:
                self._fill(post)

    def look(self) -> list[Event]:
        """Put others in the place of those that ended; what the driver must know of. Raises what
        the executor's `wait` raises."""
        if self._executor is not None:
            for event in self._executor.wait(0):
                self._take(event)
        for kept in self._servers.values():
            kept.look()
        news, self._news = self._news, []
        return news

    def explain(self, event: Event) -> Event:
        """The same, or if a worker of these ended with the task's item in hand, how it ended."""
        lost = event.error if isinstance(event, Raised) else None
        if lost is None or not self._posts:
            return event
        from batten.work.own_workers.asking import AskedWorkerLostError

        if not isinstance(lost, AskedWorkerLostError):
            return event
        ended = self._await_end(lost.serving)
        return replace(ended, task_id=event.task_id, item=lost.item)

    def stop(self) -> None:
        """End all of them. It may be repeated."""
        if self._executor is not None:
            self._executor.stop()
        for kept in self._servers.values():
            kept.stop()
        for listener in self._listeners:
            listener.close()

    def _fill(self, post: Serve) -> None:
        if self._executor is not None:
            serving = next(self._numbers)
            self._by_task[serving] = task = replace(post, serving=serving)
            self._executor.submit(serving, task)

    def _take(self, event: Event) -> None:
        if isinstance(event, Raised):
            self._news.append(event)
            return
        if isinstance(event, Died | TimedOut):
            self._ended[event.task_id] = event
        if isinstance(event, Died) and event.item is None:
            self._news.append(event)
        self._fill(self._by_task.pop(event.task_id))

    def _await_end(self, serving: int) -> Died | TimedOut:
        until = monotonic() + _END_SECONDS_MAX
        while serving not in self._ended and self._executor is not None:
            if (left := until - monotonic()) <= 0:
                break
            for event in self._executor.wait(left):
                self._take(event)
        return self._ended.pop(serving, Died(task_id=serving, item=None, cause="ended"))
