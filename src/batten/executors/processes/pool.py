"""Runs tasks in processes, and survives their deaths.

Each worker has a pair of pipes, and the nursery a socket. One thread watches them all. The death of
a worker costs the task that it had in hand, and nothing else. What it had not begun goes to
another.
"""

from __future__ import annotations

import os
import pickle
import select
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import Any

from batten.errors import BattenError, InterruptedRunError, StorageError
from batten.executors.base import Died, Event, Work
from batten.executors.marks import TASK, MakeFile, MarkTable, clear_record
from batten.executors.processes.forking import Tell, kill_group
from batten.executors.processes.handle import QueuedTask, WorkerHandle, describe_end
from batten.executors.processes.limits.killing import LimitKeeper
from batten.executors.processes.nursery import News, Nursery, NurseryGoneError, fork_nursery
from batten.executors.processes.replies import decode_reply
from batten.executors.processes.terms import WorkerBirth, WorkerLimits
from batten.executors.processes.watched_pipes import WatchedPipes
from batten.executors.processes.worker import flush_output

_PREFETCH_TASK_NANOSECONDS = 1_000_000_000
"""Tasks queue behind one in hand only where tasks are quicker than this. Behind a slow one, a
task could wait long for its turn while another worker idles."""

_POLL_SECONDS_MAX = 3600.0
"""The kernel counts milliseconds in 32 bits."""

_STILLBORN_MAX = 5
"""So many workers in a row that end before they begin any task, and the run ends. So it does when
so many nurseries in a row end while no item is in hand."""

NO_LIMITS, FORKED = WorkerLimits(), WorkerBirth()

_LOST = "was killed with the process that keeps the workers"
_SAFE = "What was committed before is untouched, and finished work is kept."
_AGAIN = "Run the same command again."


class ProcessExecutor:
    """`jobs` worker processes, forked when there are tasks for them.

    `work` and all that it refers to is inherited by fork at `start`; only tasks and results are
    pickled. `limits` are watched during `wait`. `in_flight` makes a file for the marks (see
    `marks`). `prefetch` is how many quick tasks may queue at a worker.
    """

    can_kill = True

    def __init__(
        self,
        jobs: int,
        *,
        limits: WorkerLimits = NO_LIMITS,
        birth: WorkerBirth = FORKED,
        in_flight: MakeFile | None = None,
        prefetch: int = 1,
    ) -> None:
        self._jobs = jobs
        self._limits = limits
        self._birth = birth
        self._keeper = LimitKeeper(limits)
        self._in_flight = in_flight
        self._prefetch = prefetch
        self._marks: MarkTable | None = None
        self._nursery: Nursery | None = None
        self._pipes: WatchedPipes | None = None
        self._workers: dict[int, WorkerHandle] = {}
        self._pending: deque[QueuedTask] = deque()
        self._outstanding = 0
        self._events: list[Event] = []
        self._failure: BattenError | None = None
        self._stillborn = 0
        self._losses = 0

    @property
    def slots(self) -> int:
        return self._jobs

    @property
    def worker_pids(self) -> list[int]:
        """The workers that were alive when last heard of."""
        return [worker.pid for worker in self._workers.values() if worker.pid is not None]

    def start(self, work: Work) -> None:
        """Call it before taking locks and starting threads: workers inherit what there is now,
        where they are forked."""
        try:
            marks = self._marks = MarkTable(self._jobs, self._in_flight)
            limit, birth = self._limits.timeout_seconds, self._birth
            if birth.is_fresh:
                from batten.executors.processes.interpreter import begin_interpreter

                self._begin = begin_interpreter(work, marks, limit, birth)
            else:
                self._begin = fork_nursery(work, marks, limit, birth.stdout_to_stderr)
            self._start_nursery()
        except OSError as error:
            self.stop()
            raise _cannot_fork(error.errno) from error

    @property
    def _table(self) -> MarkTable:
        if self._marks is None:
            raise RuntimeError("submit before start, or after stop")
        return self._marks

    def _start_nursery(self) -> None:
        # What is buffered now would be written again by every worker.
        flush_output()
        self._nursery = Nursery(self._begin)
        self._pipes = WatchedPipes(self._nursery)

    def submit(self, task_id: int, task: Any, *, in_new_process: bool = False) -> None:
        """Raises what pickling raises. That no worker can be had is raised by `wait`."""
        payload = pickle.dumps(task, pickle.HIGHEST_PROTOCOL)
        self._pending.append(QueuedTask(task_id, payload, in_new_process))
        self._outstanding += 1
        self._assign()

    def wait(self, timeout_seconds: float | None = None) -> list[Event]:
        """Raises `StorageError` when no worker can be forked and `InterruptedRunError` when workers
        or nurseries end again and again; all earlier events have been returned before."""
        until = None if timeout_seconds is None else monotonic() + timeout_seconds
        while not self._events and self._outstanding:
            if self._failure is not None:
                raise self._failure
            workers = self._workers.values()
            keeper, kill = self._keeper, self._kill
            waits = [keeper.kill_overdue(workers, kill), keeper.kill_overgrown(workers, kill)]
            if until is not None:
                waits.append(max(0.0, until - monotonic()))
            self._turn(min((wait for wait in waits if wait is not None), default=None))
            if until is not None and monotonic() >= until:
                break
        events, self._events = self._events, []
        self._outstanding -= len(events)
        return events

    def drain(self) -> None:
        if self._marks is not None:
            self._marks.drain()

    def stop(self) -> None:
        """Kill all workers and what they started. The file of the marks stays as it is."""
        self._pending.clear()
        self._events.clear()
        self._outstanding = 0
        if self._nursery is not None:
            self._nursery.stop()
            self._nursery = None
        for worker in list(self._workers.values()):
            self._forget(worker)
        if self._pipes is not None:
            self._pipes.close()
            self._pipes = None
        if self._marks is not None:
            self._marks.close()
            self._marks = None

    # Giving out tasks

    def _assign(self) -> None:
        while self._pending and self._failure is None:
            task = self._pending[0]
            worker = self._find_new() if task.in_new_process else self._find_free()
            if worker is None:
                return
            worker.give(self._pending.popleft())
            if worker.writer.is_waiting:
                self._watch(worker.tasks, worker, select.EPOLLOUT)

    def _find_free(self) -> WorkerHandle | None:
        """An idle worker, else a new one, else the shortest queue that may grow."""
        usable = [worker for worker in self._workers.values() if not worker.is_ending]
        shortest = min(usable, key=lambda worker: len(worker.assigned), default=None)
        if shortest is not None and not shortest.assigned:
            return shortest
        if len(self._workers) < self._jobs:
            return self._fork()
        queueable = [
            worker
            for worker in usable
            if len(worker.assigned) <= self._prefetch
            and worker.is_quick(_PREFETCH_TASK_NANOSECONDS)
        ]
        return min(queueable, key=lambda worker: len(worker.assigned), default=None)

    def _find_new(self) -> WorkerHandle | None:
        """A worker that has begun no task. If there is none, an idle one ends to make room."""
        idle = [w for w in self._workers.values() if not w.assigned and not w.is_ending]
        for worker in idle:
            if worker.is_new:
                return worker
        if len(self._workers) < self._jobs:
            return self._fork()
        if idle and not any(worker.is_ending for worker in self._workers.values()):
            self._kill(idle[0])
        return None

    def _fork(self) -> WorkerHandle | None:
        if self._nursery is None:
            raise RuntimeError("submit before start, or after stop")
        slot = next(slot for slot in range(self._jobs) if slot not in self._workers)
        pipes: list[int] = []
        try:
            pipes += os.pipe2(os.O_CLOEXEC)
            pipes += os.pipe2(os.O_CLOEXEC)
            their_tasks, tasks, results, their_results = pipes
            record = self._table.records[slot]
            clear_record(record)
            self._nursery.fork_worker(slot, their_tasks, their_results)
        except (OSError, NurseryGoneError) as error:
            for pipe in pipes:
                os.close(pipe)
            if isinstance(error, OSError):
                self._failure = _cannot_fork(error.errno)
                return None
            self._lose_nursery()
            return self._fork() if self._failure is None else None
        os.close(their_tasks)
        os.close(their_results)
        worker = self._workers[slot] = WorkerHandle(slot, tasks, results, record)
        self._watch(results, worker, select.EPOLLIN)
        return worker

    # Hearing of workers

    def _turn(self, seconds: float | None) -> None:
        """Wait until something happens, at most so long, and deal with it."""
        if self._pipes is None or self._nursery is None:
            raise RuntimeError("wait before start, or after stop")
        nursery = self._nursery
        longest = _POLL_SECONDS_MAX if seconds is None else min(seconds, _POLL_SECONDS_MAX)
        for handle, worker in self._pipes.poll(longest):
            if handle == nursery.fileno():
                self._listen(nursery)
            elif worker is not None and handle == worker.results:
                self._read(worker)
            elif worker is not None:
                worker.writer.write()
                if not worker.writer.is_waiting:
                    self._unwatch(worker.tasks)
        self._assign()

    def _read(self, worker: WorkerHandle) -> None:
        is_open = worker.reader.read_available()
        for header, payload in worker.reader.take_frames():
            del worker.assigned[header.task_id]
            self._events.append(decode_reply(*header[:2], payload))
        if not is_open:
            # It has ended, or has closed its pipe; either way it can do no more.
            self._unwatch(worker.results)
            self._kill(worker)

    def _listen(self, nursery: Nursery) -> None:
        try:
            for news in nursery.receive():
                self._take_news(news)
        except NurseryGoneError:
            self._lose_nursery()

    def _take_news(self, news: News) -> None:
        if news.kind is Tell.FAILED:
            self._failure = _cannot_fork(news.value)
            return
        worker = self._workers[news.slot]
        if news.kind is Tell.BORN:
            worker.pid = news.value
        elif news.kind is Tell.UNBORN:
            self._failure = _cannot_fork(news.value)
            self._bury(worker, "")
        else:
            self._bury(worker, describe_end(news.value))

    def _bury(self, worker: WorkerHandle, cause: str) -> None:
        """The worker has ended: tell what it had in hand, and give away what it had not begun."""
        if self._pipes is not None and self._pipes.has(worker.results):
            self._read(worker)
        task_id, cause = worker.record[TASK], worker.excess or cause
        if cause != _LOST:
            self._count_stillborn(worker.is_new, cause)
        overdue = worker.overdue
        if overdue is None and worker.assigned.pop(task_id, None) is not None:
            self._events.append(Died(task_id=task_id, item=worker.item, cause=cause))
        elif overdue is not None and worker.assigned.pop(overdue.task_id, None) is not None:
            self._events.append(overdue)
        self._pending.extendleft(reversed(worker.assigned.values()))
        clear_record(worker.record)
        self._forget(worker)

    def _count_stillborn(self, is_stillborn: bool, cause: str) -> None:
        self._stillborn = self._stillborn + 1 if is_stillborn else 0
        if self._stillborn >= _STILLBORN_MAX:
            self._give_up(f"workers in a row ended before they took any work; the last {cause}.")

    def _lose_nursery(self) -> None:
        """All workers have ended with the nursery: what they had in hand is to blame, perhaps.
        Others take up the work, of a new nursery."""
        nursery, self._nursery = self._nursery, None
        if nursery is None or self._pipes is None:
            return
        with suppress(NurseryGoneError):
            for news in nursery.receive():
                self._take_news(news)
        nursery.stop()
        lost = list(self._workers.values())
        # The kernel ends workers with the nursery, but not what they started.
        for worker in lost:
            if worker.pid is not None:
                kill_group(worker.pid)
        for worker in lost:
            worker.await_end()
        has_items = any(worker.assigned and worker.item is not None for worker in lost)
        for worker in lost:
            self._bury(worker, _LOST)
        self._pipes.close()
        self._pipes = None
        self._losses = 0 if has_items else self._losses + 1
        if self._losses >= _STILLBORN_MAX:
            self._give_up("processes in a row that keep the workers were killed, between items.")
        if self._failure is None:
            try:
                self._start_nursery()
            except OSError as error:
                self._failure = _cannot_fork(error.errno)

    def _give_up(self, what: str) -> None:
        if self._failure is None:
            self._failure = InterruptedRunError(f"{_STILLBORN_MAX} {what}", safe=_SAFE, next=_AGAIN)

    # Ending workers

    def _kill(self, worker: WorkerHandle) -> None:
        worker.is_ending = True
        with suppress(NurseryGoneError):  # Its socket tells it as well: one place deals with that.
            if self._nursery is not None:
                self._nursery.kill_worker(worker.slot)

    def _forget(self, worker: WorkerHandle) -> None:
        self._unwatch(worker.tasks)
        self._unwatch(worker.results)
        worker.close()
        del self._workers[worker.slot]

    def _watch(self, pipe: int, worker: WorkerHandle, mask: int) -> None:
        """Where the system lets no more be watched, the run ends for that."""
        try:
            if self._pipes is not None:
                self._pipes.watch(pipe, worker, mask)
        except OSError as error:
            self._failure = _cannot_fork(error.errno)

    def _unwatch(self, pipe: int) -> None:
        if self._pipes is not None:
            self._pipes.unwatch(pipe)


def _cannot_fork(number: int | None) -> StorageError:
    reason = os.strerror(number) if number else "unknown reason"
    return StorageError(
        f"cannot start a worker process: {reason}",
        safe=_SAFE,
        next=f"{_AGAIN} With fewer jobs, if processes, memory or open files are scarce.",
        errno=number,
    )
