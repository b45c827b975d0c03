"""Published batches that are reopened: items failed, changed or went, or are rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batten.deliver.delivering import Deliverer
from batten.drive.handing_out.open_batch import left_of
from batten.drive.handing_out.schedule import Schedule
from batten.drive.items_so_far import ItemsSoFar
from batten.drive.publishing.publishers import AnyPublisher
from batten.drive.staged_before import StagedBefore
from batten.drive.stopping.failure_budget import answer_of, as_failure
from batten.drive.to_do import ToDo
from batten.errors import FailedRunError
from batten.executors.base import Died, Executor
from batten.model.rules.accounting import tally_outcomes
from batten.plan.plan import Plan
from batten.run.context import Context
from batten.work.bench import Bench
from batten.work.tasks import Reopen, Reopened

if TYPE_CHECKING:
    from batten.sinks.base import RejectedError

GIVEN_UP_BATCHES = 64
"""So many share the syncs of folders when their records become markers (decision 0160)."""

PREPARE_TRIES = 5
"""How often an item is prepared whose source changes each time before it is taken."""


@dataclass(kw_only=True)
class ReopenedBatches:
    """Batches of a run under its lock."""

    context: Context
    plan: Plan
    bench: Bench
    schedule: Schedule
    publisher: AnyPublisher
    deliverer: Deliverer
    staged_before: StagedBefore
    so_far: ItemsSoFar
    to_do: ToDo
    _outdated: Counter[int] = field(default_factory=Counter)

    def reopen(self, executor: Executor, *, drain: Callable[[], None]) -> None:
        """Reopen published batches of which items have failed, changed or gone. Their commit
        records become markers: until the new part is there, the old one stands."""
        batches = self.to_do.to_reopen
        if not batches:
            return
        self.deliverer.withdraw(batches)
        for start in range(0, len(batches), GIVEN_UP_BATCHES):
            drain()
            together = batches[start : start + GIVEN_UP_BATCHES]
            self.publisher.give_up(together)
            for number, batch in enumerate(together, start):
                executor.submit(-number - 1, self._ask_for(batch))
        left = len(batches)
        while left:
            for event in executor.wait():
                if isinstance(event, Died):
                    self.so_far.failures.tell_death(event)
                    executor.submit(event.task_id, self._ask_for(batches[-event.task_id - 1]))
                    continue
                left -= 1
                drain()
                answer = answer_of(event)
                if not isinstance(answer, Reopened):
                    raise FailedRunError(
                        f"A worker failed while batch {event.task_id} was taken up again: {event}.",
                        safe="The published part stands.",
                        next="Run the same command again.",
                    )
                self._take_back(answer.batch)
                self.so_far.streak.expect(
                    answer.count_again() if answer.batch in self.to_do.changed else 0
                )
                # What is sealed of it is sealed again, and its failures are counted then.
                chunks, _ = self.staged_before.find(answer.batch)
                self.schedule.open.reopen(left_of(answer, chunks, is_reopened=True))

    def _ask_for(self, batch: int) -> Reopen:
        tries_failed = (
            self.context.options.should_retry_quarantined or batch not in self.to_do.changed
        )
        return Reopen(batch=batch, tries_failed=tries_failed)

    def _take_back(self, batch: int) -> None:
        """The accounts count its items as published, and some as failed. When it is sealed again
        they are counted anew."""
        claim = self.so_far.published.find_claim(batch)
        if claim is not None:
            self.so_far.failures.take_back(tally_outcomes(claim.outcomes).quarantined)
            self.so_far.published.take_away(claim.outcomes)

    def make_anew(self, rejected: Mapping[int, RejectedError], published: Collection[int]) -> None:
        """Reopen batches of which a destination did not take items: these are quarantined
        with the error. If an earlier run made them and failed items are tried again, they are
        prepared again. So is the only item, if it is outdated."""
        for batch, rejection in rejected.items():
            from batten.ledger.contents import load_commit

            planned = self.plan.batch(batch)
            self._outdated[batch] += rejection.is_outdated
            tries, keeps_rows = max(1, self._outdated[batch]), False
            is_again = rejection.is_outdated and tries < PREPARE_TRIES
            had = load_commit(self.context.storage, self.context.layout, batch, self.context.path)
            self.so_far.failures.take_back(tally_outcomes(had.outcomes).quarantined)
            if is_again:
                answer = Reopened(batch=batch, chunks=(), again=((0, planned.items),))
            elif self.staged_before.leaves_failures_out and self._is_of_before(batch, published):
                self.staged_before.adopted.discard(batch)
                answer = self.bench.reopening.reopen(batch, rejection.errors)
            else:
                errors = rejection.errors.items()
                failures = [as_failure(error, item, tries) for item, error in errors]
                self.so_far.failures.tell(batch, len(failures), failures[0])
                answer, keeps_rows = self.bench.reopening.reject(batch, failures), True
                if batch not in self.to_do.known_to_fail:
                    self.so_far.streak.tell_anew(batch, answer.ended, failures[0], is_decided=True)
            self.publisher.give_up([batch])
            self.schedule.open.reopen(left_of(answer, is_reopened=keeps_rows))
            self.so_far.published.take_away(had.outcomes)

    def _is_of_before(self, batch: int, published: Collection[int]) -> bool:
        """Whether an earlier run made rows of it, perhaps by what was mended since."""
        return batch not in published or batch in self.staged_before.adopted
