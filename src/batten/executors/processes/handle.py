"""What the driver knows of a worker, and the driver's ends of its pipes."""

from __future__ import annotations

import os
import select
import signal
from time import monotonic
from typing import NamedTuple

from batten.executors.base import IDLE, TimedOut
from batten.executors.marks import ITEM, NO_TASK, TASK, TASK_NANOSECONDS
from batten.executors.processes.frames import FrameReader, FrameWriter, encode_frame
from batten.executors.processes.limits.memory_limit import tell_excess

END_SECONDS_MAX = 5.0
"""How long a killed worker may take to end; one that hangs in the kernel is left to init."""


class QueuedTask(NamedTuple):
    """`payload` is the task, pickled."""

    task_id: int
    payload: bytes
    in_new_process: bool


class WorkerHandle:
    """`assigned` holds the tasks that the worker has not answered yet, in order. `pid` is None
    until the nursery has told it. `excess` says why the worker was killed for its memory."""

    def __init__(self, slot: int, tasks: int, results: int, record: memoryview) -> None:
        os.set_blocking(tasks, False)
        os.set_blocking(results, False)
        self.slot = slot
        self.tasks = tasks
        self.results = results
        self.record = record
        self.writer = FrameWriter(tasks)
        self.reader = FrameReader(results)
        self.assigned: dict[int, QueuedTask] = {}
        self.pid: int | None = None
        self.is_ending = False
        self.overdue: TimedOut | None = None
        self.excess = ""

    @property
    def is_new(self) -> bool:
        """Whether it has not begun any task."""
        return self.record[TASK] == NO_TASK

    @property
    def item(self) -> int | None:
        """The item in hand."""
        item: int = self.record[ITEM]
        return None if item == IDLE else item

    def is_quick(self, nanoseconds: int) -> bool:
        """Whether its last task took less than that; False if it has ended none."""
        return bool(0 < self.record[TASK_NANOSECONDS] < nanoseconds)

    def give(self, task: QueuedTask) -> None:
        self.assigned[task.task_id] = task
        self.writer.write(encode_frame(task.task_id, 0, task.payload))

    def exceeds(self, memory_bytes_max: int) -> bool:
        """Whether the worker uses more memory than that. If so, `excess` says how much."""
        if self.pid is not None and not self.is_ending:
            self.excess = tell_excess(self.pid, memory_bytes_max)
        return bool(self.excess) and not self.is_ending

    def await_end(self) -> None:
        """Wait until a worker that was killed has let go of its pipe, and so has ended."""
        until = monotonic() + END_SECONDS_MAX
        poll = select.poll()
        poll.register(self.results, select.POLLIN)
        while self.reader.read_available() and monotonic() < until:
            poll.poll(1000 * max(0.0, until - monotonic()))

    def close(self) -> None:
        os.close(self.tasks)
        os.close(self.results)


def describe_end(status: int) -> str:
    """For people: "was killed by signal SIGSEGV", "exited with status 3"."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"was killed by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
