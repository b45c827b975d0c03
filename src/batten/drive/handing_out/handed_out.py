"""The tasks that are handed out and did not end yet."""

from __future__ import annotations

from batten.drive.handing_out.open_batch import OpenBatch, Range


class HandedOut:
    """Tasks by number, in the order in which they were handed out. One that has no range seals its
    batch.

    It is asked before each task that is handed out, and there may be one for each item of a
    vendor's batch. So what it is asked for then is counted, and not looked for."""

    def __init__(self) -> None:
        self._tasks: dict[int, tuple[OpenBatch, Range | None]] = {}
        self._unbegun: dict[int, int] = {}
        self._seals = self._suspects = self._number = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, batch: OpenBatch, work: Range | None) -> int:
        """The number of the new task."""
        self._number += 1
        self._tasks[self._number] = (batch, work)
        self._seals += work is None
        self._suspects += _is_suspect(work)
        if work is not None:
            self._unbegun[self._number] = work.stop - work.start
        return self._number

    def begin(self, number: int) -> None:
        """All items of the task have been begun."""
        self._unbegun.pop(number, None)

    def end(self, number: int) -> tuple[OpenBatch, Range | None]:
        """The task is in hand no more."""
        batch, work = self._tasks.pop(number)
        self.begin(number)
        self._suspects -= _is_suspect(work)
        if work is not None:
            batch.running -= 1
        else:
            self._seals -= 1
            batch.is_sealing = False
        return batch, work

    def is_suspect(self, number: int) -> bool:
        """Whether its items may have ended a worker or a whole run."""
        return _is_suspect(self._tasks[number][1])

    @property
    def has_suspects(self) -> bool:
        return self._suspects > 0

    def list_work(self) -> list[Range | None]:
        return [work for _, work in self._tasks.values()]

    def count_work(self) -> int:
        """How many tasks are not seals."""
        return len(self._tasks) - self._seals

    def list_waiting(self) -> list[int]:
        """How many items each task has of which not all have been begun."""
        return list(self._unbegun.values())


def _is_suspect(work: Range | None) -> bool:
    return work is not None and work.company is not None
