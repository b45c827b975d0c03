"""When answers are put aside: few at a time where they come slowly, as those that cost money do.

A kill costs what is in flight, and the answers that are not put aside. Of calls that end by the
thousand a second no more than a half second's is lost, which is cheap. Of others, ten.
"""

from __future__ import annotations

ANSWERS_MAX = 10
"""So many may a kill cost besides what is in flight, where they come slowly."""

ANSWERS_DUE = 5
"""So many are put aside; a few more end while that is done."""

ANSWERS_A_SECOND_MAX = 1000.0
"""Where more end, to put aside so few at a time would take a good part of the processor."""

WINDOW_SECONDS = 0.5


class StagingPace:
    """Counts answers that are not put aside yet. `now` is in seconds, by any clock that goes on."""

    def __init__(self) -> None:
        self.waiting = 0
        self._began: float | None = None
        self._ended = 0
        self._rate = 0.0

    def take(self, now: float) -> None:
        """An answer came."""
        self.waiting += 1
        if self._began is None:
            self._began = now
        passed = now - self._began
        if passed >= WINDOW_SECONDS:
            self._rate = self._ended / passed
            self._began, self._ended = now, 0
        self._ended += 1

    def put_aside(self, answers: int) -> None:
        """So many of them are put aside from now on."""
        self.waiting -= answers

    @property
    def is_due(self) -> bool:
        """Whether what waits is to be put aside at once."""
        rate = max(self._rate, self._ended / WINDOW_SECONDS)
        return self.waiting >= ANSWERS_DUE and rate <= ANSWERS_A_SECOND_MAX
