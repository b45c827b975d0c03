"""The pipes of workers and the socket of the nursery, which one thread watches."""

from __future__ import annotations

import select
from collections.abc import Iterator

from batten.executors.processes.handle import WorkerHandle
from batten.executors.processes.nursery import Nursery


class WatchedPipes:
    """Those of one nursery and its workers."""

    def __init__(self, nursery: Nursery) -> None:
        self._poll = select.epoll()
        self._poll.register(nursery, select.EPOLLIN)
        self._workers: dict[int, WorkerHandle] = {}

    def has(self, pipe: int) -> bool:
        return pipe in self._workers

    def watch(self, pipe: int, worker: WorkerHandle, mask: int) -> None:
        """Raises `OSError` where the system lets no more be watched."""
        if pipe not in self._workers:
            self._poll.register(pipe, mask)
            self._workers[pipe] = worker

    def unwatch(self, pipe: int) -> None:
        if self._workers.pop(pipe, None) is not None:
            self._poll.unregister(pipe)

    def poll(self, seconds_max: float) -> Iterator[tuple[int, WorkerHandle | None]]:
        """What something happened to, and whose it is if it is a worker's still."""
        for handle, _ in self._poll.poll(seconds_max):
            yield handle, self._workers.get(handle)

    def close(self) -> None:
        self._poll.close()
