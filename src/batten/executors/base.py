"""What an executor is: it runs `work(task, mark)` somewhere and tells what became of it.

A task is any small value that pickles, and so is the value that `work` returns. While `work`
handles an item, it says so through `mark`. So if a worker dies, or an item takes too long, the
number of the item is known. Work functions stage their results themselves: no result crosses a
pipe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from batten.model.value_class import value_class

IDLE = -1


class Mark(Protocol):
    """Says which item a worker has in hand. Cheap: it is called for every item."""

    def begin(self, item: int, limit_seconds: float | None = None) -> None:
        """Say that an item is in hand; begun again, the item has its time anew.

        Args:
            item: The number of the item in the plan.
            limit_seconds: The item's time limit in the place of the executor's, in seconds; `inf`
                for none. By default it is the executor's.
        """
        ...

    def end(self) -> None:
        """Say that no item is in hand."""
        ...

    @property
    def is_draining(self) -> bool:
        """Whether no further item is to be begun."""
        ...

    def retire(self) -> None:
        """Say that this worker has done enough: it ends with this task, and another follows."""
        ...


Work = Callable[[Any, Any], Any]
"""Takes a task, and the `Mark` of the executor that runs it."""


@value_class
class Finished:
    """`work` returned a value.

    Attributes:
        task_id: The number of the task.
        value: What `work` returned.
    """

    task_id: int
    value: Any


@value_class
class Raised:
    """`work` raised: never an item's fault (those are handled inside `work`), so the run ends.

    Attributes:
        task_id: The number of the task.
        error: The exception if it pickles, otherwise a `FailedRunError` with its text.
        trace: Its traceback.
    """

    task_id: int
    error: BaseException
    trace: str


@value_class
class Died:
    """The worker ended without an answer.

    Attributes:
        task_id: The number of the task.
        item: The item in hand; None if the worker was between items.
        cause: How it ended, for people: "was killed by signal SIGSEGV", "exited with status 3".
    """

    task_id: int
    item: int | None
    cause: str


@value_class
class TimedOut:
    """The item was in hand for longer than its limit, and its worker was killed for it.

    Attributes:
        task_id: The number of the task.
        item: The item in hand.
        limit_seconds: Its time limit, in seconds.
    """

    task_id: int
    item: int
    limit_seconds: float


@value_class
class Lost:
    """The machine that had the task is gone, and nobody knows how far it came.

    Attributes:
        task_id: The number of the task.
        was_begun: Whether it had begun, as far as it had said so.
        cause: What is known of it, for people.
        calls_max: So many items may have been in hand, at most. 1 by default.
    """

    task_id: int
    was_begun: bool
    cause: str
    calls_max: int = 1


@value_class
class Told:
    """`work` tells something while it goes on; only work of the driver's own process can.

    Attributes:
        task_id: The number of the task.
        value: What it tells.
    """

    task_id: int
    value: Any


Event = Finished | Raised | Died | TimedOut | Lost | Told


class Executor(Protocol):
    """Runs tasks. Used from one thread: `start` once, then `submit` and `wait`, then `stop`."""

    @property
    def slots(self) -> int:
        """How many items are in hand at a time."""
        ...

    @property
    def can_kill(self) -> bool:
        """Whether a worker's death is survived, and time limits are enforced."""
        ...

    def start(self, work: Work) -> None:
        """Make ready to run tasks.

        Args:
            work: Called with each task, and with the `Mark` of its worker.
        """
        ...

    def submit(self, task_id: int, task: Any, *, in_new_process: bool = False) -> None:
        """Queue a task; a worker gets it as soon as one is free. Tasks start in order.

        Args:
            task_id: The number that events name the task by.
            task: Any small value that pickles.
            in_new_process: Whether, where there are processes, a worker gets it that has done
                nothing before. False by default.
        """
        ...

    def wait(self, timeout_seconds: float | None = None) -> list[Event]:
        """Wait for events. Each task gives exactly one, besides what it tells before it.

        Args:
            timeout_seconds: How long to wait, in seconds; by default as long as it takes.

        Returns:
            At least one event, unless the time is up or no task is outstanding.
        """
        ...

    def drain(self) -> None:
        """Let the item in hand of each worker end.

        Marks say from now on that they drain. Work that looks begins no further item, and gives
        back what it has not begun.
        """
        ...

    def stop(self) -> None:
        """End all workers at once, whatever they do, and leave nothing. It may be repeated."""
        ...
