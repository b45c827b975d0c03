"""Kills workers of which a call takes too long, or that use too much memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic

from batten.executors.processes.handle import WorkerHandle
from batten.executors.processes.limits.memory_limit import LOOK_SECONDS
from batten.executors.processes.limits.time_limits import look_at_limit
from batten.executors.processes.terms import WorkerLimits

Kill = Callable[[WorkerHandle], None]


class LimitKeeper:
    """Looks at workers again and again."""

    def __init__(self, limits: WorkerLimits) -> None:
        self._limits = limits
        self._memory_due = 0.0

    def kill_overdue(self, workers: Iterable[WorkerHandle], kill: Kill) -> float | None:
        """Kill workers whose item is over the limit; in how many seconds the next may be."""
        if self._limits.timeout_seconds is None:
            return None
        next_seconds = self._limits.timeout_seconds
        for worker in [each for each in workers if not each.is_ending]:
            overdue, left_seconds = look_at_limit(worker.record)
            if overdue is not None:
                worker.overdue = overdue
                kill(worker)
            elif left_seconds is not None:
                next_seconds = min(next_seconds, left_seconds)
        return next_seconds

    def kill_overgrown(self, workers: Iterable[WorkerHandle], kill: Kill) -> float | None:
        """Kill workers that use too much memory; in how many seconds to look again."""
        if self._limits.memory_bytes_max is None:
            return None
        now = monotonic()
        if now >= self._memory_due:
            self._memory_due = now + LOOK_SECONDS
            for worker in workers:
                if worker.exceeds(self._limits.memory_bytes_max):
                    kill(worker)
        return self._memory_due - now
