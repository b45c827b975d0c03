"""Who is told what becomes of a run, besides those to whom it is shown: metrics, spans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from batten.listening import Listener, complain
from batten.model.rules.accounting import Accounts, OutcomeCounts
from batten.model.rules.usage import Usage
from batten.model.value_class import value_class
from batten.model.words import RunStatus

if TYPE_CHECKING:
    from batten.run.progress import Status

LOGGER = "batten.run"


@value_class
class RunBegan:
    """A run has begun. `output` is the path of the output, or its address. Times are nanoseconds
    since 1970."""

    output: str
    run: str
    jobs: int
    time_ns: int


@value_class
class BatchPublished:
    """A batch was published. It `began_ns` when its first task was handed out."""

    batch: int
    rows: int
    size: int
    counts: OutcomeCounts
    began_ns: int
    time_ns: int


@value_class
class RunEnded:
    """A run has ended, perhaps by an `error`. Then the accounts may not be known. `usage` is that
    of the dataset, if its calls told any. `seconds` are those of its stages."""

    status: RunStatus
    accounts: Accounts | None
    rows: int
    error: BaseException | None
    executed: int
    adopted: int
    seconds: dict[str, float]
    time_ns: int
    usage: Usage | None = None


class RunWatcher(Protocol):
    """Is told of one run, in its own thread and in this order."""

    def begin(self, began: RunBegan) -> None: ...

    def hold(self) -> None:
        """The run holds the lock of its output, so no other one is at work on it."""

    def show(self, status: Status) -> None:
        """How far it is, a few times a second."""

    def publish(self, published: BatchPublished) -> None: ...

    def end(self, ended: RunEnded) -> None: ...


class Watchers:
    """All who watch one run. One that fails is left out from then on, and ends no run."""

    def __init__(
        self, watchers: Sequence[RunWatcher] = (), note: Callable[[str], object] = complain
    ) -> None:
        self._told = [(each, Listener(type(each).__name__, note)) for each in watchers]

    def __bool__(self) -> bool:
        return any(listener.is_listening for _, listener in self._told)

    def tell(self, call: Callable[[RunWatcher], None]) -> None:
        for watcher, listener in self._told:
            listener.tell(partial(call, watcher))
