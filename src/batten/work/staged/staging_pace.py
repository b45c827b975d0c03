"""When answers are put aside: few at a time where they come slowly, as those that cost money do.

A kill costs what is in flight, and the answers that are not put aside. Of calls that end by the
thousand a second no more than a half second's is lost, which is cheap. Of others, ten more than may
be in flight: no call begins while both together are so many (decision 0149).
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
        self._not_safe = 0
        self._began: float | None = None
        self._ended = 0
        self._rate = 0.0

    def take(self, now: float) -> None:
        """An answer came."""
        self.take_free()
        if self._began is None:
            self._began = now
        passed = now - self._began
        if passed >= WINDOW_SECONDS:
            self._rate = self._ended / passed
            self._began, self._ended = now, 0
        self._ended += 1

    def take_free(self) -> None:
        """An answer for which nothing was called."""
        self.waiting += 1
        self._not_safe += 1

    def put_aside(self, answers: int) -> None:
        """So many of them are put aside from now on."""
        self.waiting -= answers

    def is_aside(self, answers: int) -> None:
        """So many of them are safe now."""
        self._not_safe -= answers

    @property
    def is_due(self) -> bool:
        """Whether what waits is to be put aside at once."""
        return self.waiting >= ANSWERS_DUE and self._is_slow

    def has_room(self, in_hand: int, places: int) -> bool:
        """Whether a further call may be begun, where so many are in hand of as many as may be. A
        kill would then cost no more than all of those and ten."""
        return in_hand + self._not_safe < places + ANSWERS_MAX or not self._is_slow

    @property
    def _is_slow(self) -> bool:
        return max(self._rate, self._ended / WINDOW_SECONDS) <= ANSWERS_A_SECOND_MAX
