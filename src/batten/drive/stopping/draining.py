"""How a run stops: no new work is begun, and what is in hand may end for some seconds.

A signal asks for it, or the run itself, where the job fails. A process that a function had started
may have died of the same signal, since schedulers send it to all processes of a job. So what failed
shortly before a signal, or after it, is in doubt, and the next run tries it again.
"""

from __future__ import annotations

import math
import time

from batten.run.context import Context
from batten.run.telling.recording import RunRecord

SIGNAL_SECONDS = 1.0
"""What failed so shortly before a signal is in doubt."""


class Draining:
    """Whether the run is asked to stop, and how long what is in hand may take."""

    def __init__(self, context: Context, record: RunRecord) -> None:
        self._context, self._record = context, record
        self._failed_at = -math.inf
        self._doubtful_from = math.inf
        self._ends_at: float | None = None

    @property
    def is_asked(self) -> bool:
        """Whether a signal has asked to stop."""
        return self._context.signals.received is not None

    def note_failure(self) -> None:
        """An item failed just now."""
        self._failed_at = time.monotonic()

    def tell(self, outstanding: int) -> None:
        """A signal asked to stop, with so many tasks in hand."""
        self._record.note_signal()
        if outstanding:
            told = self._context.signals.tell_draining(self._context.options.drain_seconds)
            self._context.progress.note(told)
        self._doubtful_from = time.monotonic() - SIGNAL_SECONDS

    def begin(self) -> None:
        """From now on the seconds count that what is in hand may take."""
        self._ends_at = time.monotonic() + self._context.options.drain_seconds

    @property
    def seconds_left(self) -> float:
        """0 if they are over, or have not begun."""
        return max(0.0, self._ends_at - time.monotonic()) if self._ends_at is not None else 0.0

    @property
    def shown(self) -> str:
        """For people; empty while nothing is drained."""
        if self._ends_at is None:
            return ""
        return f"stopping: {math.ceil(self.seconds_left)} s for what is in hand"

    def end(self) -> None:
        """Nothing is in hand any more. Raises `InterruptedRunError`."""
        if self._failed_at > self._doubtful_from:
            self._record.note_doubt()
        self._context.refuse_stopped()
