"""Why items wait to be tried apart from others, for whoever watches the run."""

from __future__ import annotations

from batten.executors.base import Died
from batten.model.telling.counts import count_of
from batten.storage.machine import Machine


class Apart:
    """Knows how the last worker ended. One that the kernel killed for want of memory has no more
    to say than its signal, so the kernel is asked."""

    def __init__(self, machine: Machine | None = None) -> None:
        self._machine = machine or Machine()
        self._kills = self._machine.count_memory_kills()
        self._why = ""

    def take(self, death: Died) -> None:
        self._why = f": a worker {death.cause}"
        kills = self._machine.count_memory_kills()
        if kills != self._kills and "SIGKILL" in death.cause:
            self._why += ", for want of memory"
        self._kills = kills

    def tell(self, items: int) -> tuple[str, ...]:
        """What so many items wait for, in a few words; nothing for none."""
        return (f"{count_of(items, 'item')} to be tried apart{self._why}",) if items else ()
