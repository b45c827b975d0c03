"""What others show of a run can't end it."""

from __future__ import annotations

from collections.abc import Callable

from batten.listening import Listener
from batten.run.progress import Progress, Status


class CalledProgress:
    """Shows by a call of the user's function."""

    def __init__(self, function: Callable[[Status], object]) -> None:
        self._function = function

    def show(self, status: Status) -> None:
        self._function(status)

    def note(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class GuardedProgress:
    """Shows by code that is not batten's. When that fails, it is not called any more: a run that
    has paid for its items goes on without it."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner
        self._listener = Listener("What shows the progress")
        self._is_closed = False

    def show(self, status: Status) -> None:
        self._listener.tell(lambda: self._inner.show(status))

    def note(self, text: str) -> None:
        self._listener.tell(lambda: self._inner.note(text))

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._listener.tell(self._inner.close)
