"""What a run shows of itself while the driver is at work."""

from __future__ import annotations

import time

from batten.drive.handing_out.schedule import Schedule
from batten.drive.items_so_far import ItemsSoFar
from batten.drive.publishing.waiting import Waiting
from batten.drive.stopping.draining import Draining
from batten.executors.base import Died
from batten.executors.printing.output import losses
from batten.model.telling.counts import count_of
from batten.plan.plan import Plan
from batten.run.context import Context
from batten.run.progress import Status
from batten.storage.machine import Machine

SHOW_SECONDS = 0.2


class Showing:
    """Shows the counts of a run every so often. `waits` says what workers wait for."""

    def __init__(
        self,
        context: Context,
        plan: Plan,
        so_far: ItemsSoFar,
        draining: Draining,
    ) -> None:
        self._context, self._plan = context, plan
        self._so_far, self._draining = so_far, draining
        self.apart = Apart()
        self.waits: tuple[str, ...] = ()
        self._began = time.monotonic()
        self._shown_at = 0.0

    def show(self, schedule: Schedule, waiting: Waiting, *, is_last: bool = False) -> None:
        now = time.monotonic()
        if now - self._shown_at < SHOW_SECONDS and not is_last:
            return
        self._shown_at = now
        losses.look()
        staged = schedule.open.staged_items + waiting.items
        self._context.show(
            Status(
                source=self._plan.items + self._plan.duplicates,
                committed=self._so_far.published.items,
                staged=staged,
                quarantined=self._so_far.failures.quarantined,
                executed=self._context.executed_items,
                adopted=schedule.adopted_items,
                seconds=now - self._began,
                waits=self._list_waits(schedule.suspect_items),
                is_stopping=bool(self._draining.shown),
                accounts=self._so_far.published.make_accounts(self._plan, staged=staged),
            )
        )

    def _list_waits(self, suspects: int) -> tuple[str, ...]:
        if self._draining.shown:
            return (self._draining.shown,)
        return (*self.waits, *self.apart.tell(suspects))


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
