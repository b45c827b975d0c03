"""When a call that failed is tried again: one policy for functions that await and those that don't.

- What the server refused for good is not tried again: 401, 403, 404, 422 and the like say the same
  the next time. Where `retry_on=` says what is, that alone holds.
- Everything else is: an answer may be torn, a server overloaded, a model's text not the one asked.
- The pause is drawn between half of a limit and the limit, which doubles from try to try, so that
  calls that failed together are not repeated together. Where the server asked for more, it gets it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from batten.errors import usage_error
from batten.executors.answers import find_retry_after, find_status
from batten.model.value_class import value_class

PAUSE_SECONDS_FIRST = 0.1
PAUSE_SECONDS_MAX = 10.0

PASSING_STATUSES = frozenset({408, 409, 423, 425, 429})
"""Of the statuses below 500, those that may be another the next time."""

RetryOn = type[BaseException] | int | Callable[[BaseException], bool]


@value_class
class Retry:
    """`tries` in all. `wanted`: classes, statuses and functions, any of which says that a failure
    is tried again; None for the usual. `draw` gives a number from 0 to 1, `clock` the time.
    The draws are the system's: the job's own random numbers stay what they are."""

    tries: int
    wanted: tuple[RetryOn, ...] | None = None
    draw: Callable[[], float] = random.SystemRandom().random
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def find_pause(self, error: BaseException, attempt: int) -> float | None:
        """The seconds to wait after try number `attempt`, which failed so; None if it was the
        last. Raises what a function of `wanted` raises."""
        if attempt >= self.tries or not self.is_passing(error):
            return None
        limit = min(PAUSE_SECONDS_FIRST * 2.0 ** (attempt - 1), PAUSE_SECONDS_MAX)
        asked = find_retry_after(error, self.clock())
        return max(limit * (1 + self.draw()) / 2, asked or 0.0)

    def is_passing(self, error: BaseException) -> bool:
        """Whether the failure may be over the next time."""
        if self.wanted is not None:
            return any(_matches(each, error) for each in self.wanted)
        status = find_status(error)
        if status is None or status >= 500 or status in PASSING_STATUSES:
            return True
        # Some servers refuse for a while with 403, and say for how long.
        return find_retry_after(error, self.clock()) is not None

    @property
    def tries_overdue(self) -> int:
        """How often an item is tried that takes too long each time."""
        return self.tries if self.is_passing(TimeoutError()) else 1


def _matches(wanted: RetryOn, error: BaseException) -> bool:
    if isinstance(wanted, int):
        return find_status(error) == wanted
    if isinstance(wanted, type):
        return isinstance(error, wanted)
    return bool(wanted(error))


def read_retry_on(given: Any, retries: int) -> tuple[RetryOn, ...] | None:
    """What `retry_on=` of a step says; raises `UsageError` for what can't be."""
    if given is None:
        return None
    wanted = tuple(given) if isinstance(given, Iterable) and not callable(given) else (given,)
    for each in wanted:
        is_class = isinstance(each, type) and issubclass(each, BaseException)
        is_status = isinstance(each, int) and not isinstance(each, bool) and 100 <= each <= 599
        if not (is_class or is_status or (callable(each) and not isinstance(each, type))):
            raise usage_error(
                f"retry_on has {each!r}.",
                "Give classes of exceptions, statuses, or functions that take an exception: "
                "retry_on=(ConnectionError, 429, 503).",
            )
    if not retries:
        raise usage_error(
            "retry_on= says what is tried again, and nothing is: retries is 0.",
            "Say how often: retries=3.",
        )
    return wanted
