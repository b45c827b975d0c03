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
        """`limit_seconds` in the place of the executor's limit, `inf` for none, where items have
        one. Begun again, the item has its time anew."""
        ...

    def end(self) -> None: ...

    @property
    def is_draining(self) -> bool:
        """Whether no further item is to be begun."""
        ...

    def retire(self) -> None:
        """This worker has done enough: it ends with the task in hand, and another follows it."""
        ...


Work = Callable[[Any, Any], Any]
"""Takes a task, and the `Mark` of the executor that runs it."""


@value_class
class Finished:
    """`work` returned `value`."""

    task_id: int
    value: Any


@value_class
class Raised:
    """`work` raised: never an item's fault (those are handled inside `work`), so the run ends.

    `error` is the exception if it pickles, otherwise a `FailedRunError` with its text."""

    task_id: int
    error: BaseException
    trace: str


@value_class
class Died:
    """The worker ended without an answer. `item` was in hand; None if the worker was between items.
    `cause` for people: "was killed by signal SIGSEGV", "exited with status 3"."""

    task_id: int
    item: int | None
    cause: str


@value_class
class TimedOut:
    """The item was in hand for longer than its limit, and its worker was killed for it."""

    task_id: int
    item: int
    limit_seconds: float


@value_class
class Told:
    """`work` tells something while it goes on; only work of the driver's own process can."""

    task_id: int
    value: Any


Event = Finished | Raised | Died | TimedOut | Told


class Executor(Protocol):
    """Runs tasks. Used from one thread. `start` once, then `submit` and `wait`, then `stop`."""

    @property
    def slots(self) -> int:
        """How many items are in hand at a time."""
        ...

    @property
    def can_kill(self) -> bool:
        """Whether a worker's death is survived, and time limits are enforced."""
        ...

    def start(self, work: Work) -> None: ...

    def submit(self, task_id: int, task: Any, *, in_new_process: bool = False) -> None:
        """Queue a task; it is given to a worker as soon as one is free. Tasks start in order.
        One that is to run `in_new_process` is given, where there are processes, to a worker that
        has done nothing before."""
        ...

    def wait(self, timeout_seconds: float | None = None) -> list[Event]:
        """At least one event, unless the time is up or no task is outstanding. Submitted tasks
        each give exactly one event, besides what they tell before it."""
        ...

    def drain(self) -> None:
        """Let the item in hand of each worker end. Marks say from now on that they drain: work
        that looks begins no further item, and gives back what it has not begun."""
        ...

    def stop(self) -> None:
        """End all workers at once, whatever they do, and leave nothing behind. May be repeated."""
        ...
